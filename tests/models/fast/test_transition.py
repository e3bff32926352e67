"""Accelerated transitions against the plain ones."""

from collections.abc import Callable
from copy import deepcopy

import pytest
import torch
from torch import Tensor, nn

from t3d.models import accelerate
from t3d.models.fast.convolutions import Conv3dCall, Conv3dOverride
from t3d.models.t3d import DenseTransition, TemporalTransition, TransitionPool

Transition = TemporalTransition | DenseTransition
KINDS: dict[str, Callable[[], Transition]] = {
    "ttl": lambda: TemporalTransition(5, depths=(1, 3, 6), width=4),
    "even": lambda: TemporalTransition(5, depths=(2, 4, 5), width=(2, 3, 1)),
    "flat": lambda: TemporalTransition(5, depths=(1, 3), width=4, flat=True),
    "compress": lambda: TemporalTransition(5, depths=(1, 3), width=4, compress=True),
    "replicate": lambda: TemporalTransition(5, depths=(1, 4), width=4, replicate_time=True),
    "space only": lambda: TemporalTransition(5, depths=(1, 3), width=4, pool=TransitionPool(time_stride=1)),
    "last plane": lambda: TemporalTransition(5, depths=(1, 3), width=4, pool=TransitionPool(keep_last_plane=True)),
    "maximum": lambda: TemporalTransition(5, depths=(1, 3), width=4, pool=TransitionPool(maximum=True)),
    "thirds": lambda: TemporalTransition(
        5, depths=(1, 3), width=4, pool=TransitionPool(time_stride=3, keep_last_plane=True)
    ),
    "other pool": lambda: TemporalTransition(5, depths=(1, 3), width=4, pool=nn.AvgPool3d(2)),
    "dense": lambda: DenseTransition(6, pool=TransitionPool()),
}
SIZES = [(2, 2, 2), (5, 7, 4), (8, 6, 6)]


def built(kind: str) -> Transition:
    torch.manual_seed(0)
    transition = KINDS[kind]().double()
    for module in transition.modules():
        if isinstance(module, nn.BatchNorm3d):
            nn.init.uniform_(module.weight, -1.5, 1.5)
            nn.init.uniform_(module.bias, -0.5, 0.5)
    return transition


def judged(outcome: Tensor, transition: Transition, features: Tensor) -> list[Tensor]:
    outcome.backward(torch.linspace(-1, 1, outcome.numel(), dtype=outcome.dtype).view_as(outcome))
    return [outcome.detach(), features.grad, *(p.grad for p in transition.parameters()), *transition.buffers()]


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("kind", KINDS)
def test_accelerated_transition_equals_the_plain_one(kind: str, size: tuple[int, int, int], training: bool) -> None:
    transition = built(kind).train(training)
    other = deepcopy(transition)
    values = torch.randn(3, 6 if kind == "dense" else 5, *size, dtype=torch.float64) + 1
    one, two = values.clone().requires_grad_(), values.clone().requires_grad_()
    found = judged(accelerate(transition)(one), transition, one)
    expected = judged(other(two), other, two)
    for ours, plain in zip(found, expected, strict=True):
        torch.testing.assert_close(ours, plain, rtol=1e-10, atol=1e-12)


def test_a_single_plane_is_kept_where_that_is_wanted() -> None:
    plain = built("last plane").eval()
    fused = accelerate(deepcopy(plain))
    features = torch.randn(1, 5, 1, 4, 4, dtype=torch.float64)
    assert fused(features).shape == (1, 8, 1, 2, 2)
    torch.testing.assert_close(fused(features), plain(features), rtol=0, atol=1e-12)


def test_an_eighth_of_the_positions_is_convolved() -> None:
    sizes: list[tuple[int, ...]] = []

    def noting(call: Conv3dCall) -> Tensor:
        outcome = torch.conv3d(*call)
        sizes.append((*call.weight.shape[2:], *outcome.shape[2:]))
        return outcome

    with Conv3dOverride(noting):
        accelerate(built("ttl")).eval()(torch.randn(1, 5, 8, 6, 6, dtype=torch.float64))
    assert sizes == [(1, 1, 1, 4, 3, 3), (3, 3, 3, 4, 3, 3), (6, 3, 3, 4, 3, 3)]


def test_gradients_in_bfloat16_are_finite_and_near() -> None:
    transition = built("ttl").float()
    values = torch.randn(2, 5, 8, 6, 6)
    exact = judged((other := deepcopy(transition))(one := values.clone().requires_grad_()), other, one)
    ours = accelerate(deepcopy(transition))
    two = values.clone().requires_grad_()
    with torch.autocast("cpu", torch.bfloat16):
        outcome = ours(two)
    found = judged(outcome, ours, two)
    for near, target in zip(found[: 2 + 9], exact, strict=False):
        assert (near - target).norm() < 0.05 * target.norm()
