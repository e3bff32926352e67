"""Batch normalisation and ReLU of a training step, taken apart so that layers share what they have in common.

Every layer of a dense block, and every branch of a temporal transition, normalises the same maps: their statistics are
the same, only scale and shift are a layer's own. Nothing normalised is kept for the gradient: one pass over the maps
gives it again.

Source: Pleiss et al. 2017, arXiv:1707.06990, for normalising anew instead of keeping; sharing the statistics follows
from their definition.
"""

import math
from collections.abc import Iterable
from typing import NamedTuple, TypeGuard

import torch
import torch.nn.functional as F
from torch import Tensor, nn

_EACH_CHANNEL = (0, 2, 3, 4)


class Norm(NamedTuple):
    """What one BN layer does to values with mean 0 and deviation 1."""

    weight: Tensor
    """Scale, (C,)."""
    bias: Tensor
    """Shift, (C,)."""
    eps: float
    """Added to the variance."""


class Statistics(NamedTuple):
    """Of each channel of a batch of maps; at least float32."""

    mean: Tensor
    """(C,)"""
    variance: Tensor
    """(C,), of the batch itself: divided by the number of values."""

    def first(self, channels: int) -> "Statistics":
        """Those of the first channels."""
        return Statistics(self.mean[:channels], self.variance[:channels])

    def inverse_deviation(self, norm: Norm) -> Tensor:
        """What centred values are multiplied by, (C,)."""
        return (self.variance + norm.eps).rsqrt()

    def scale(self, norm: Norm) -> Tensor:
        """The same times the layer's own scale, (C,)."""
        return norm.weight * self.inverse_deviation(norm)


def can_share_statistics(maps: Tensor, norms: Iterable[nn.Module]) -> bool:
    """Whether these layers would normalise maps by their batch, and keep running statistics in PyTorch's usual way.

    A compiler sees the plain layers, which it fuses by itself. Squares and products that are added up here would leave
    the range of float16.
    """
    if torch.compiler.is_compiling() or num_values(maps) == 1 or torch.float16 in (maps.dtype, _autocast_dtype(maps)):
        return False
    norms = list(norms)
    usual = [norm for norm in norms if _is_usual(norm)]
    return len(usual) == len(norms) and len({norm.eps for norm in usual}) == 1


def _autocast_dtype(maps: Tensor) -> torch.dtype | None:
    kind = maps.device.type
    return torch.get_autocast_dtype(kind) if kind != "meta" and torch.is_autocast_enabled(kind) else None


def _is_usual(norm: nn.Module) -> TypeGuard[nn.BatchNorm3d]:
    if type(norm) is not nn.BatchNorm3d:  # subclasses may exchange their statistics between processes
        return False
    return norm.training and norm.affine and norm.momentum is not None and norm.running_mean is not None


def update_running_statistics(norm: nn.BatchNorm3d, statistics: Statistics, num_values: int) -> None:
    """Move the running statistics of a layer as batch normalisation does.

    Args:
        norm: Changed in place.
        statistics: Of the batch.
        num_values: Of one channel, from which these are.
    """
    if norm.num_batches_tracked is not None:
        norm.num_batches_tracked.add_(1)
    assert norm.momentum is not None
    assert norm.running_mean is not None
    assert norm.running_var is not None
    norm.running_mean.lerp_(statistics.mean.to(norm.running_mean.dtype), norm.momentum)
    unbiased = statistics.variance * (num_values / (num_values - 1))
    norm.running_var.lerp_(unbiased.to(norm.running_var.dtype), norm.momentum)


def is_recomputing() -> bool:
    """Whether a backward pass is running, so that a forward pass is that of `torch.utils.checkpoint`, done again.

    Running statistics have then been moved by this batch already. PyTorch's own checkpoint asks the same function.
    """
    graph_task_id = getattr(torch._C, "_current_graph_task_id", None)
    return graph_task_id is not None and graph_task_id() != -1


def compute_statistics(maps: Tensor) -> Statistics:
    """Mean and variance of each channel of maps (B, C, T, H, W)."""
    dtype = torch.promote_types(maps.dtype, torch.float32)
    mean = maps.mean(_EACH_CHANNEL, dtype=dtype)
    centred = maps - along_channels(mean, maps)
    return Statistics(mean, centred.square_().mean(_EACH_CHANNEL, dtype=dtype))


def num_values(maps: Tensor) -> int:
    """Values of one channel."""
    return maps.numel() // maps.shape[1]


def along_channels(values: Tensor, like: Tensor) -> Tensor:
    """Give values (C,) the form and number format in which they go with maps (B, C, T, H, W)."""
    return values.to(like.dtype).view(1, -1, 1, 1, 1)


class Workspace:
    """Memory for one map after the other, each of which is written over by the next: warm, and fetched only once.

    Args:
        widest: A map like these, and as large as the largest; only its form counts.
    """

    def __init__(self, widest: Tensor) -> None:
        self.widest = widest
        self.values: Tensor | None = None

    def empty(self, channels: int) -> Tensor:
        """A map of so many channels, (B, C, T, H, W)."""
        if self.values is None:
            self.values = self.widest.new_empty(self.widest.numel())
        batch, _, *size = self.widest.shape
        values = self.values[: batch * channels * math.prod(size)]
        if memory_format(self.widest) == torch.channels_last_3d:
            return values.view(batch, *size, channels).movedim(-1, 1)
        return values.view(batch, channels, *size)


def norm_relu(maps: Tensor, statistics: Statistics, norm: Norm, workspace: Workspace | None = None) -> Tensor:
    """Normalise by given statistics, scale, shift and rectify.

    Args:
        maps: (B, C, T, H, W); they may be some channels of larger ones.
        statistics: Of these.
        norm: The layer.
        workspace: Where to write the result; a map of its own when not given.
    """
    scale = statistics.scale(norm)
    if maps.dtype == scale.dtype:
        shift = norm.bias - statistics.mean * scale
        out = None if workspace is None else workspace.empty(maps.shape[1])
        return torch.addcmul(along_channels(shift, maps), maps, along_channels(scale, maps), out=out).relu_()
    return F.batch_norm(  # which has more digits in between than a half precision
        maps.contiguous(memory_format=memory_format(maps)),
        statistics.mean.to(norm.weight.dtype),
        statistics.variance.to(norm.weight.dtype),
        norm.weight,
        norm.bias,
        training=False,
        eps=norm.eps,
    ).relu_()


class NormReluGrad(NamedTuple):
    """Gradients behind scale, shift and ReLU, the statistics taken as constants."""

    normalised: Tensor
    """Of the normalised maps, before the scale, (B, C, T, H, W)."""
    weight: Tensor
    """Of the layer's scale, (C,)."""
    bias: Tensor
    """Of its shift, (C,)."""


def norm_relu_backward(
    grad: Tensor, output: Tensor, *, maps: Tensor, statistics: Statistics, norm: Norm
) -> NormReluGrad:
    """Gradients of `norm_relu`, but for that through the statistics, which `StatsGrad` adds up.

    Args:
        grad: Of what it gave; written over.
        output: What it gave; written over.
        maps: What it was given.
        statistics: Likewise.
        norm: Likewise.
    """
    grad = torch.ops.aten.threshold_backward(grad, output, 0, grad_input=grad)
    bias = grad.sum(_EACH_CHANNEL, dtype=statistics.mean.dtype)
    centred = torch.sub(maps, along_channels(statistics.mean, maps), out=output)
    along = centred.mul_(grad).sum(_EACH_CHANNEL, dtype=statistics.mean.dtype)
    return NormReluGrad(grad, along * statistics.inverse_deviation(norm), bias)


class StatsGrad:
    """Gradient that reaches maps through their statistics, summed over the layers that share these."""

    def __init__(self, statistics: Statistics, norm: Norm) -> None:
        self.statistics = statistics
        self.inverse_deviation = statistics.inverse_deviation(norm)
        self.mean = torch.zeros_like(statistics.mean)
        self.deviation = torch.zeros_like(statistics.mean)

    def add(self, grad: NormReluGrad, norm: Norm) -> None:
        """Count in a layer that normalised the first channels."""
        channels = len(grad.bias)
        scale = norm.weight * self.inverse_deviation[:channels]
        self.mean[:channels] += scale * grad.bias
        self.deviation[:channels] += scale * grad.weight

    def add_to(self, grad: Tensor, maps: Tensor, channels: slice) -> Tensor:
        """Sum with the direct gradient of some channels, once every layer that saw these is counted in."""
        number = num_values(maps)
        centred = maps - along_channels(self.statistics.mean[channels], maps)
        slope = along_channels(-self.deviation[channels] * self.inverse_deviation[channels] / number, grad)
        constant = along_channels(-self.mean[channels] / number, grad)
        return torch.addcmul(grad, centred, slope, out=centred).add_(constant)


def memory_format(maps: Tensor) -> torch.memory_format:
    """In which order the values of maps lie, also where they are some channels of larger ones."""
    strides = maps.stride()
    last = strides[1] == 1 and maps.shape[1] > 1 and math.prod(maps.shape[2:]) > 1
    return torch.channels_last_3d if last else torch.contiguous_format
