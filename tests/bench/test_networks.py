import pytest
import torch

from t3d.bench.networks import build_network, count_flops, forward_step, has_literal
from t3d.bench.rounds import Step
from t3d.models.describe import fit


def _literal_pass(*, arch: str, size: tuple[int, int, int], device: str) -> Step:
    network = build_network(arch, literal=True, device=device).eval()
    return lambda: network(torch.empty(1, 3, *size, device=device))


def test_the_literal_network_costs_what_the_paper_says() -> None:
    """244 G multiply-adds for T3D-121, 62.5 G for DenseNet3D-121, at 32 x 224 x 224; two operations each."""
    for arch, multiply_adds in (("t3d_121", 244e9), ("densenet3d_121", 62.5e9)):
        assert count_flops(_literal_pass, arch=arch, size=(32, 224, 224)) == pytest.approx(2 * multiply_adds, rel=3e-3)


def test_ours_costs_what_the_list_of_networks_says() -> None:
    found = fit("t3d_tiny", (16, 32, 32))
    assert found is not None
    assert count_flops(forward_step, arch="t3d_tiny", shape=(3, 3, 16, 32, 32)) == 3 * found.gflops * 1e9


def test_a_forward_pass_takes_overrides() -> None:
    literals = {"blocks": [1, 1, 1, 1], "growth_rate": 4, "stem_channels": 4, "ttl_width": 4, "keep_last_plane": True}
    few = count_flops(forward_step, arch="t3d_tiny", shape=(1, 3, 4, 32, 32), **literals)
    assert 0 < few < count_flops(forward_step, arch="t3d_tiny", shape=(1, 3, 4, 32, 32), keep_last_plane=True)


def test_only_some_networks_were_written_plainly() -> None:
    assert has_literal("t3d_169")
    assert not has_literal("t3d_tiny")
