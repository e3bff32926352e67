from itertools import pairwise

import pytest
import torch
import torch.nn.functional as F
from outlines import num_parameters, outline, shapes, sizes, temporal_transition

from t3d.errors import ConfigError
from t3d.models import C3DSpec, create_model

WIDTHS = (3, 64, 128, 256, 256, 512, 512, 512, 512)
SMALL = {"widths": ((3,), (4,), (5, 6), (6, 7), (7, 5)), "fc_width": 8}


def _convolutions(widths: tuple[int, ...]) -> int:
    return sum(27 * before * after + after for before, after in pairwise(widths))


def test_parameters_match_closed_form() -> None:
    linear = 512 * 4 * 4 * 4096 + 4096 + 4096 * 4096 + 4096
    assert num_parameters(outline("c3d", 400)) == _convolutions(WIDTHS) + linear + 4096 * 400 + 400
    assert num_parameters(outline("c3d", 400, head="mean")) == _convolutions(WIDTHS) + 512 * 400 + 400
    tiny = (3, 9, 18, 36, 36, 72, 72, 72, 72)
    assert num_parameters(outline("c3d_tiny", 400)) == _convolutions(tiny) + 72 * 400 + 400


def test_parameters_match_the_published_network() -> None:
    assert num_parameters(outline("c3d", 487)) == 79_991_015
    assert num_parameters(outline("c3d", 0)) == 77_995_776


def test_sizes_stage_by_stage() -> None:
    assert sizes(outline("c3d"), 16, 112, 112) == {
        "stem": (64, 16, 56, 56),
        "block1": (128, 16, 56, 56),
        "transition1": (128, 8, 28, 28),
        "block2": (256, 8, 28, 28),
        "transition2": (256, 4, 14, 14),
        "block3": (512, 4, 14, 14),
        "transition3": (512, 2, 7, 7),
        "block4": (512, 2, 7, 7),
    }


def test_transitions_in_the_place_of_pools() -> None:
    depths = ((1, 3, 6), None, (1, 3, 4))
    plain, temporal = outline("c3d"), outline("c3d", ttl_depths=depths)
    assert sizes(temporal, 16, 112, 112) == sizes(plain, 16, 112, 112)
    assert shapes(temporal, but="transition") == shapes(plain)
    added = temporal_transition(128, depths[0]) + temporal_transition(512, depths[2])
    assert num_parameters(temporal) - num_parameters(plain) == added


@pytest.mark.parametrize("head", ["fc", "mean"])
def test_the_network_by_hand(head: str) -> None:
    model = create_model("c3d", 5, generator=torch.Generator().manual_seed(0), head=head, **SMALL).double().eval()
    with torch.no_grad():
        for name, bias in model.named_parameters():
            if name.endswith("bias"):
                bias.normal_(generator=torch.Generator().manual_seed(len(name)))
    features = clips = torch.randn(1, 3, 16, 112, 112, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    weights = [tensor for name, tensor in model.state_dict().items() if name.startswith(("stem.", "stages."))]
    pools = {0: (1, 2, 2), 1: (2, 2, 2), 3: (2, 2, 2), 5: (2, 2, 2)}
    for layer in range(8):
        features = F.conv3d(features, weights[2 * layer], weights[2 * layer + 1], padding=1).clamp(min=0)
        if layer in pools:
            features = F.max_pool3d(features, pools[layer])
    with torch.no_grad():
        torch.testing.assert_close(model.forward_features(clips), features)
        if head == "mean":
            torch.testing.assert_close(model.embed(clips), features.mean(dim=(2, 3, 4)))
        else:
            assert model.head(features).shape == model.embed(clips).shape == (1, 8)
            torch.testing.assert_close(model(clips), model.classifier(model.head(features)))


def test_its_pools_keep_the_last_plane_on_request() -> None:
    plain, lenient = (
        create_model("c3d_tiny", 5, keep_last_plane=keep, generator=torch.Generator().manual_seed(0)).eval()
        for keep in (False, True)
    )
    clips = torch.randn(1, 3, 16, 32, 32, generator=torch.Generator().manual_seed(1))
    assert torch.equal(plain(clips), lenient(clips))
    assert lenient.forward_features(clips[:, :, :1]).shape[2:] == (1, 2, 2)


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"widths": ((64,), (), (256, 256), (512,), (512,))}, "widths .* of channels of at least 1"),
        ({"widths": ((64,), (0,), (256, 256), (512,), (512,))}, "widths .* of channels of at least 1"),
        ({"widths": ((64,),), "ttl_depths": ()}, "widths .* must hold two groups or more"),
        ({"widths": ((64,), (128,))}, "ttl_depths .* must have 0 entries"),
        ({"fc_width": 0}, "fc_width 0 must be at least 1"),
        ({"in_channels": 0}, "in_channels 0 must be at least 1"),
        ({"head": "sliding"}, "head 'sliding' must be fc or mean"),
        ({"flat": True}, "flat needs the head mean.* give --head mean$"),
        ({"neck": -1}, "neck -1 must be at least 0"),
        ({"dropout": 1.0}, "dropout 1.0 must be at least 0 and below 1"),
    ],
)
def test_what_makes_no_sense_is_refused_by_name(options: dict[str, object], says: str) -> None:
    with pytest.raises(ConfigError, match=f"^{says}") as caught:
        C3DSpec(**options)
    assert "\n" not in str(caught.value)
