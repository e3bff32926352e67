from typing import Any

import pytest
import torch
from torch import nn

from t3d.models import create_model
from t3d.models.static_halving import make_static, smoothed

MICRO = {"blocks": [1, 1, 1, 1], "growth_rate": 4, "stem_channels": 4}
CASES: list[tuple[str, dict[str, Any]]] = [
    ("t3d_tiny", {**MICRO, "ttl_width": 4, "ttl_depths": [[1, 3, 6], [2, 4, 5], [1]], "keep_last_plane": True}),
    ("t3d_tiny", {**MICRO, "ttl_width": 4, "transition_time_stride": 1}),
    ("t3d_tiny", {**MICRO, "ttl_width": 4, "ttl_compress": True, "keep_last_plane": True}),
    ("t3d_tiny", {**MICRO, "ttl_width": 4, "replicate_time": True, "keep_last_plane": True}),
    ("densenet3d_tiny", {**MICRO, "keep_last_plane": True}),
    ("resnet3d_tiny_ttl", {"width": 4, "keep_last_plane": True}),
    ("inception3d_tiny_ttl", {"keep_last_plane": True}),
]


@pytest.mark.parametrize("smooth_kernels", [False, True])
@pytest.mark.parametrize(("arch", "overrides"), CASES)
def test_logits_stay_the_same_for_even_and_odd_sizes(
    arch: str, overrides: dict[str, Any], smooth_kernels: bool
) -> None:
    network = create_model(arch, 5, generator=torch.Generator().manual_seed(0), **overrides).double().eval()
    nn.init.normal_(network.classifier.weight)
    generator = torch.Generator().manual_seed(1)
    clips = [
        torch.randn(2, 3, *size, generator=generator, dtype=torch.float64) for size in ((16, 64, 64), (15, 58, 67))
    ]
    with torch.no_grad():
        expected = [network(clip) for clip in clips]
        make_static(network, smooth_kernels=smooth_kernels)
        for clip, logits in zip(clips, expected, strict=True):
            torch.testing.assert_close(network(clip), logits, rtol=1e-10, atol=1e-10)


def test_a_kernel_is_averaged_with_itself_one_place_further() -> None:
    kernel = torch.tensor([1.0, 4.0, 2.0]).view(1, 1, 1, 1, 3)
    assert smoothed(kernel, (1, 1, 2)).flatten().tolist() == [0.5, 2.5, 3.0, 1.0]
    assert smoothed(kernel, (2, 1, 1)).shape == (1, 1, 2, 1, 3)
    assert smoothed(kernel, (1, 1, 1)).equal(kernel)
