import pytest
import torch
from torch import nn

from benchmarks import agreement
from benchmarks.agreement import agreement as agree
from benchmarks.agreement import relative
from t3d.models import create_model

SHAPE = (2, 3, 16, 32, 32)


def _agree(monkeypatch: pytest.MonkeyPatch, *, eps: float) -> dict[str, bool]:
    """Set a network against itself, but for the eps of one norm; whether each target is met."""

    def build(arch: str) -> nn.Module:
        network = create_model(arch)
        next(module for module in network.modules() if isinstance(module, nn.BatchNorm3d)).eps = eps
        return network

    monkeypatch.setattr(agreement, "literal_network", build)
    found = agree("resnet3d_tiny", SHAPE, exact_shape=SHAPE)
    assert len(found.notes) == 1
    return {target.what: target.met for target in found.targets}


def test_a_function_agrees_with_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    """Though each of the two was built with weights of its own."""
    assert _agree(monkeypatch, eps=1e-5) == {
        "outputs in training, float32": True,
        "gradients, float32": True,
        "outputs in training, float64": True,
        "gradients, float64": True,
    }


def test_another_function_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    assert not any(_agree(monkeypatch, eps=0.1).values())


def test_a_difference_is_that_of_the_norms() -> None:
    found, expected = (
        [torch.tensor([3.0]), torch.tensor([[0.0, 5.0]])],
        [torch.tensor([3.0]), torch.tensor([[0.0, 4.0]])],
    )
    assert relative(found, expected) == pytest.approx(1 / 5)
