"""Branches of norm, ReLU and convolution on one map, with the average pool after them; and a step of their training.

A training step shares the statistics of the map among the branches and keeps nothing but the map for the gradient.
Which places are added up and convolved is `t3d.models.halving`'s business.
"""

from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd.function import once_differentiable

from t3d.models.composite import NormReluConv, convolve_back
from t3d.models.halving import Halving
from t3d.models.shared_norm import (
    Room,
    Statistics,
    Through,
    along_channels,
    back_through,
    can_share,
    count,
    rectified,
    remember,
    statistics,
)
from t3d.models.sizes import Size


def can_halve(branches: Sequence[NormReluConv]) -> bool:
    """Whether convolution and pool may change places: planes seen again beyond the ends stand in the way."""
    return all(branch.repeats == (0, 0) for branch in branches)


def halved(branches: Sequence[NormReluConv], features: Tensor, pool: Size) -> Tensor:
    """Concatenate what the branches see and take averages of `pool` places, for an eighth of the arithmetic.

    Args:
        branches: Without repeated planes.
        features: (B, C, T, H, W).
        pool: 1 or 2 in (T, H, W); an odd last place is dropped.
    """
    if can_share(features, [branch.norm for branch in branches]):
        parameters = [parameter for branch in branches for parameter in branch.parameters()]
        shared: Tensor = _Halved.apply(features, branches, pool, *parameters)
        return shared
    return torch.cat([_halve(F.relu(branch.norm(features)), branch, pool) for branch in branches], dim=1)


def _halve(seen: Tensor, branch: NormReluConv, pool: Size) -> Tensor:
    halving = _halving(branch, pool)
    sums = halving.sums(seen)
    return halving.factor * F.conv3d(sums, branch.conv.weight, stride=halving.stride, padding=halving.padding(seen))


def _halving(branch: NormReluConv, pool: Size) -> Halving:
    time, height, width = branch.conv.kernel_size
    return Halving(kernel=(time, height, width), before=((time - 1) // 2, height // 2, width // 2), pool=pool)


class _Halved(torch.autograd.Function):
    """A training step of the branches."""

    @staticmethod
    def forward(
        ctx: Any,  # noqa: ANN401  (PyTorch's own)
        features: Tensor,
        branches: Sequence[NormReluConv],
        pool: Size,
        *parameters: Tensor,
    ) -> Tensor:
        shared = statistics(features)
        room, parts = Room(features), []
        for branch in branches:
            parts.append(_halve(rectified(features, shared, branch.norm, room), branch, pool))
            remember(branch.norm, shared, count(features))
        ctx.branches, ctx.pool = branches, pool
        ctx.save_for_backward(features, *shared, *parameters)
        return torch.cat(parts, dim=1)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:  # noqa: ANN401
        features, mean, variance, *_ = ctx.saved_tensors
        shared, branches = Statistics(mean, variance), ctx.branches
        through = Through(shared, branches[0].norm)
        room = Room(features)
        grad: Tensor | None = None
        found: list[Tensor] = []
        widths = [branch.conv.out_channels for branch in branches]
        for branch, part in zip(branches, grads[0].split(widths, dim=1), strict=True):
            seen = rectified(features, shared, branch.norm, room)
            of_seen, of_weight = _halve_back(part, seen, branch, ctx.pool)
            back = back_through(of_seen.to(features.dtype), seen, maps=features, shared=shared, norm=branch.norm)
            through.add(back, branch.norm)
            scale = along_channels(shared.scale(branch.norm), features)
            grad = back.grad.mul_(scale) if grad is None else grad.addcmul_(back.grad, scale)
            found += [back.weight, back.bias, of_weight]
        assert grad is not None  # there are branches
        return through.settle(grad, features, slice(None)), None, None, *found


def _halve_back(grad: Tensor, seen: Tensor, branch: NormReluConv, pool: Size) -> tuple[Tensor, Tensor]:
    """Undo `_halve` for a gradient."""
    halving = _halving(branch, pool)
    of_sums, of_weight = convolve_back(
        halving.factor * grad,
        halving.sums(seen),
        branch.conv.weight,
        stride=halving.stride,
        padding=halving.padding(seen),
    )
    return halving.back(of_sums, seen), of_weight
