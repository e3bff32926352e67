"""Transitions against convolution, concatenation and pool one after the other."""

from collections.abc import Callable
from copy import deepcopy

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from t3d.models.transitions import DenseTransition, HalvingPool, TemporalTransition

Transition = TemporalTransition | DenseTransition
KINDS: dict[str, Callable[[], Transition]] = {
    "ttl": lambda: TemporalTransition(5, depths=(1, 3, 6), width=4),
    "even": lambda: TemporalTransition(5, depths=(2, 4, 5), width=(2, 3, 1)),
    "flat": lambda: TemporalTransition(5, depths=(1, 3), width=4, flat=True),
    "compress": lambda: TemporalTransition(5, depths=(1, 3), width=4, compress=True),
    "replicate": lambda: TemporalTransition(5, depths=(1, 4), width=4, replicate_time=True),
    "space only": lambda: TemporalTransition(5, depths=(1, 3), width=4, pool=HalvingPool(time_stride=1)),
    "last plane": lambda: TemporalTransition(5, depths=(1, 3), width=4, pool=HalvingPool(keep_last_plane=True)),
    "maximum": lambda: TemporalTransition(5, depths=(1, 3), width=4, pool=HalvingPool(maximum=True)),
    "dense": lambda: DenseTransition(6, pool=HalvingPool()),
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


def plainly(transition: Transition, features: Tensor) -> Tensor:
    if isinstance(transition, DenseTransition):
        return transition.pool(transition.compress(features))
    seen = torch.cat([branch(features) for branch in transition.branches], dim=1)
    return transition.pool(transition.compress(seen))


def judged(outcome: Tensor, transition: Transition, features: Tensor) -> list[Tensor]:
    outcome.backward(torch.linspace(-1, 1, outcome.numel(), dtype=outcome.dtype).view_as(outcome))
    return [outcome.detach(), features.grad, *(p.grad for p in transition.parameters()), *transition.buffers()]


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("kind", KINDS)
def test_transition_equals_its_parts_one_after_the_other(kind: str, size: tuple[int, int, int], training: bool) -> None:
    transition = built(kind).train(training)
    other = deepcopy(transition)
    values = torch.randn(3, 6 if kind == "dense" else 5, *size, dtype=torch.float64) + 1
    one, two = values.clone().requires_grad_(), values.clone().requires_grad_()
    found = judged(transition(one), transition, one)
    expected = judged(plainly(other, two), other, two)
    for ours, plain in zip(found, expected, strict=True):
        torch.testing.assert_close(ours, plain, rtol=1e-10, atol=1e-12)


def test_a_single_plane_is_kept_where_that_is_wanted() -> None:
    transition = built("last plane").eval()
    features = torch.randn(1, 5, 1, 4, 4, dtype=torch.float64)
    assert transition(features).shape == (1, 8, 1, 2, 2)
    torch.testing.assert_close(transition(features), plainly(transition, features), rtol=0, atol=1e-12)


def test_an_eighth_of_the_places_is_convolved(monkeypatch: pytest.MonkeyPatch) -> None:
    sizes: list[tuple[int, ...]] = []
    convolve = F.conv3d

    def noting(maps: Tensor, weight: Tensor, *arguments: object, **options: object) -> Tensor:
        outcome = convolve(maps, weight, *arguments, **options)
        sizes.append((*weight.shape[2:], *outcome.shape[2:]))
        return outcome

    monkeypatch.setattr(F, "conv3d", noting)
    built("ttl").eval()(torch.randn(1, 5, 8, 6, 6, dtype=torch.float64))
    assert sizes == [(1, 1, 1, 4, 3, 3), (3, 3, 3, 4, 3, 3), (6, 3, 3, 4, 3, 3)]


def test_gradients_in_bfloat16_are_finite_and_near() -> None:
    transition = built("ttl").float()
    values = torch.randn(2, 5, 8, 6, 6)
    exact = judged(plainly(other := deepcopy(transition), one := values.clone().requires_grad_()), other, one)
    ours = deepcopy(transition)
    two = values.clone().requires_grad_()
    with torch.autocast("cpu", torch.bfloat16):
        outcome = ours(two)
    found = judged(outcome, ours, two)
    for near, target in zip(found[: 2 + 9], exact, strict=False):
        assert (near - target).norm() < 0.05 * target.norm()
