"""Transitions that pool before they convolve, for an eighth of the arithmetic, and their fused training step.

The training step shares the statistics of the map among the branches and stores only the map for the gradient.
"""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from t3d.models.fast.batch_norm import (
    Norm,
    Statistics,
    StatsGrad,
    Workspace,
    along_channels,
    can_share_statistics,
    compute_statistics,
    is_recomputing,
    norm_relu,
    norm_relu_backward,
    num_values,
    update_running_statistics,
)
from t3d.models.fast.convolutions import Conv3dCall, conv3d_backward, is_replaceable
from t3d.models.fast.pool_then_conv import PoolThenConv
from t3d.models.layers import Size
from t3d.models.t3d import DenseTransition, NormReluConv, TemporalTransition, TransitionPool


class FusedTemporalTransition(TemporalTransition):
    """Temporal transition that pools before the last convolutions instead of after them."""

    def forward(self, features: Tensor) -> Tensor:
        """Map (B, C, T, H, W) to (B, out_channels, T // 2, H // 2, W // 2)."""
        branches = cast("list[NormReluConv]", list(self.branches))
        if isinstance(self.compress, NormReluConv):
            seen = torch.cat([branch(features) for branch in branches], dim=1)
            return convolve_and_pool([self.compress], seen, self.pool)
        return convolve_and_pool(branches, features, self.pool)


class FusedDenseTransition(DenseTransition):
    """DenseNet transition that pools before its convolution."""

    def forward(self, features: Tensor) -> Tensor:
        """Map (B, C, T, H, W) to (B, C // 2, T // 2, H // 2, W // 2)."""
        return convolve_and_pool([self.compress], features, self.pool)


def last_branches(transition: nn.Module) -> list[NormReluConv]:
    """The `NormReluConv` right before the pool of a transition; empty for other modules."""
    if isinstance(transition, DenseTransition) or (
        isinstance(transition, TemporalTransition) and isinstance(transition.compress, NormReluConv)
    ):
        return [cast("NormReluConv", transition.compress)]
    if isinstance(transition, TemporalTransition):
        return cast("list[NormReluConv]", list(transition.branches))
    return []


def can_pool_first(branches: Sequence[NormReluConv], pool: nn.Module) -> bool:
    """Whether these convolutions commute with the pool: an average pool of two, no repeated planes, usual layers."""
    average = isinstance(pool, TransitionPool) and not pool.maximum and pool.time_stride in (1, 2)
    return average and all(branch.repeats == (0, 0) and is_replaceable(branch.conv) for branch in branches)


def convolve_and_pool(branches: Sequence[NormReluConv], features: Tensor, pool: nn.Module) -> Tensor:
    """Concatenate the branches and pool; in the opposite order where that gives the same result."""
    if not can_pool_first(branches, pool):
        return pool(torch.cat([branch(features) for branch in branches], dim=1))
    size = cast("TransitionPool", pool).kernel_size(features)
    if can_share_statistics(features, [branch.norm for branch in branches]):
        return _fused_step(branches, features, size)
    parts = [pool_then_convolve(F.relu(branch.norm(features)), branch.conv.weight, size) for branch in branches]
    return torch.cat(parts, dim=1)


def pool_then_convolve(
    rectified: Tensor, kernel: Tensor, pool: Size, convolve: Callable[..., Tensor] = F.conv3d
) -> Tensor:
    """Average pool of a convolution that keeps T, H and W, for an eighth of the arithmetic.

    Args:
        rectified: Input of the convolution, (B, C, T, H, W).
        kernel: (O, C, depth, height, width), padded as `NormReluConv` does.
        pool: 1 or 2 in (T, H, W); an odd last position is dropped.
        convolve: Computes the convolution of the sums, as `torch.conv3d` does.
    """
    order = _order(kernel, pool)
    call = Conv3dCall(order.sums(rectified), kernel, stride=order.stride, padding=order.padding(rectified))
    return order.factor * convolve(*call)


def _order(kernel: Tensor, pool: Size) -> PoolThenConv:
    time, height, width = kernel.shape[2:]
    return PoolThenConv(kernel=(time, height, width), before=((time - 1) // 2, height // 2, width // 2), pool=pool)


def _fused_step(branches: Sequence[NormReluConv], features: Tensor, pool: Size) -> Tensor:
    parameters = [
        tensor for branch in branches for tensor in (branch.norm.weight, branch.norm.bias, branch.conv.weight)
    ]
    out, mean, variance = TransitionFunction.apply(features, pool, branches[0].norm.eps, *parameters)
    if not is_recomputing():
        for branch in branches:
            update_running_statistics(branch.norm, Statistics(mean, variance), num_values(features))
    return out


class _Branch(NamedTuple):
    norm: Norm
    kernel: Tensor


def _branches_of(parameters: Sequence[Tensor], eps: float) -> list[_Branch]:
    """Each branch has three parameters: scale and shift of its norm, and its kernel."""
    return [
        _Branch(Norm(weight, bias, eps), kernel)
        for weight, bias, kernel in zip(parameters[::3], parameters[1::3], parameters[2::3], strict=True)
    ]


class TransitionFunction(torch.autograd.Function):
    """Training step of branches followed by a pool; also returns the batch statistics.

    Does not modify its arguments; not differentiable twice.
    """

    @staticmethod
    def forward(
        ctx: Any,  # noqa: ANN401  (PyTorch's own)
        features: Tensor,
        pool: Size,
        eps: float,
        *parameters: Tensor,
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Return the pooled maps of all branches, concatenated, and mean and variance of the features."""
        shared, workspace = compute_statistics(features), Workspace(features)
        parts = [
            pool_then_convolve(norm_relu(features, shared, branch.norm, workspace), branch.kernel, pool)
            for branch in _branches_of(parameters, eps)
        ]
        ctx.pool, ctx.eps = pool, eps
        ctx.save_for_backward(features, *shared, *parameters)
        ctx.mark_non_differentiable(*shared)
        ctx.set_materialize_grads(False)
        return torch.cat(parts, dim=1), *shared

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad_out: Tensor, *_: None) -> tuple[Tensor | None, ...]:  # noqa: ANN401
        """Return the gradients of the features and of the parameters, in the order of the arguments."""
        features, mean, variance, *parameters = ctx.saved_tensors
        shared, branches = Statistics(mean, variance), _branches_of(parameters, ctx.eps)
        stats_grad, workspace = StatsGrad(shared, branches[0].norm), Workspace(features)
        grad: Tensor | None = None
        found: list[Tensor] = []
        widths = [len(branch.kernel) for branch in branches]
        for (norm, kernel), part in zip(branches, grad_out.split(widths, dim=1), strict=True):
            seen = norm_relu(features, shared, norm, workspace)
            grad_seen, grad_kernel = _pool_then_convolve_backward(part, seen, kernel, ctx.pool)
            back = norm_relu_backward(grad_seen.to(features.dtype), seen, maps=features, statistics=shared, norm=norm)
            stats_grad.add(back, norm)
            scale = along_channels(shared.scale(norm), features)
            grad = back.normalised.mul_(scale) if grad is None else grad.addcmul_(back.normalised, scale)
            found += [back.weight, back.bias, grad_kernel]
        assert grad is not None  # there are branches
        return stats_grad.add_to(grad, features, slice(None)), None, None, *found


def _pool_then_convolve_backward(grad: Tensor, rectified: Tensor, kernel: Tensor, pool: Size) -> tuple[Tensor, Tensor]:
    """Gradients of the input and the kernel."""
    order = _order(kernel, pool)
    grad_sums, grad_kernel = conv3d_backward(
        order.factor * grad,
        order.sums(rectified),
        kernel,
        stride=order.stride,
        padding=order.padding(rectified),
    )
    return order.backward(grad_sums, rectified), grad_kernel
