"""Batch normalisation and ReLU of a training step, split up so that several layers share the statistics.

All layers of a dense block, and all branches of a temporal transition, normalise the same maps: the statistics are the
same, only scale and shift differ. Normalised maps are not stored for the gradient; one pass over the maps recomputes
them.

Source: Pleiss et al. 2017, arXiv:1707.06990, for recomputing normalised maps; sharing the statistics follows from
their definition.
"""

import math
from collections.abc import Iterable
from typing import NamedTuple, TypeGuard

import torch
import torch.nn.functional as F
from torch import Tensor, nn

_EACH_CHANNEL = (0, 2, 3, 4)


class Norm(NamedTuple):
    """Scale, shift and eps of one BN layer."""

    weight: Tensor
    """Scale, (C,)."""
    bias: Tensor
    """Shift, (C,)."""
    eps: float
    """Added to the variance."""


class Statistics(NamedTuple):
    """Mean and variance of each channel of a batch of maps; at least float32."""

    mean: Tensor
    """(C,)"""
    variance: Tensor
    """(C,), biased: divided by the number of values."""

    def first(self, channels: int) -> "Statistics":
        """Statistics of the first channels."""
        return Statistics(self.mean[:channels], self.variance[:channels])

    def inverse_deviation(self, norm: Norm) -> Tensor:
        """1 / sqrt(variance + eps), (C,)."""
        return (self.variance + norm.eps).rsqrt()

    def scale(self, norm: Norm) -> Tensor:
        """Inverse deviation times the layer's scale, (C,)."""
        return norm.weight * self.inverse_deviation(norm)


def can_share_statistics(maps: Tensor, norms: Iterable[nn.Module]) -> bool:
    """Whether these layers normalise by batch statistics and update running statistics in PyTorch's default way.

    False under a compiler, which fuses the plain layers, and for float16, whose range is too small for the sums here.
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
    if type(norm) is not nn.BatchNorm3d:  # subclasses such as SyncBatchNorm exchange statistics between processes
        return False
    if norm._forward_hooks or norm._forward_pre_hooks:
        return False
    return norm.training and norm.affine and norm.momentum is not None and norm.running_mean is not None


def update_running_statistics(norm: nn.BatchNorm3d, statistics: Statistics, num_values: int) -> None:
    """Update the running statistics of a layer as batch normalisation does.

    Args:
        norm: Changed in place.
        statistics: Of the batch.
        num_values: Values per channel that the statistics are of.
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
    """Whether a backward pass is running, so that this forward pass is a recomputation by `torch.utils.checkpoint`.

    Running statistics were then already updated by this batch. PyTorch's own checkpoint uses the same function.
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
    """Number of values per channel."""
    return maps.numel() // maps.shape[1]


def along_channels(values: Tensor, like: Tensor) -> Tensor:
    """Reshape and cast values (C,) so that they broadcast with maps (B, C, T, H, W)."""
    return values.to(like.dtype).view(1, -1, 1, 1, 1)


class Workspace:
    """Memory that successive maps reuse: it stays in the cache and is allocated once.

    Args:
        widest: A map as large as the largest; only its shape, dtype and device count.
    """

    def __init__(self, widest: Tensor) -> None:
        self.widest = widest
        self.values: Tensor | None = None

    def empty(self, channels: int) -> Tensor:
        """An uninitialised map of this number of channels, (B, C, T, H, W)."""
        if self.values is None:
            self.values = self.widest.new_empty(self.widest.numel())
        batch, _, *size = self.widest.shape
        values = self.values[: batch * channels * math.prod(size)]
        if memory_format(self.widest) == torch.channels_last_3d:
            return values.view(batch, *size, channels).movedim(-1, 1)
        return values.view(batch, channels, *size)


def norm_relu(maps: Tensor, statistics: Statistics, norm: Norm, workspace: Workspace | None = None) -> Tensor:
    """Normalise by given statistics, scale, shift, and apply ReLU.

    Args:
        maps: (B, C, T, H, W); may be a slice of channels.
        statistics: Of these maps.
        norm: The layer.
        workspace: Memory for the result; a new map when not given.
    """
    scale = statistics.scale(norm)
    if maps.dtype == scale.dtype:
        shift = norm.bias - statistics.mean * scale
        out = None if workspace is None else workspace.empty(maps.shape[1])
        return torch.addcmul(along_channels(shift, maps), maps, along_channels(scale, maps), out=out).relu_()
    return F.batch_norm(  # intermediate values with more digits than a half precision
        maps.contiguous(memory_format=memory_format(maps)),
        statistics.mean.to(norm.weight.dtype),
        statistics.variance.to(norm.weight.dtype),
        norm.weight,
        norm.bias,
        training=False,
        eps=norm.eps,
    ).relu_()


class NormReluGrad(NamedTuple):
    """Gradients through scale, shift and ReLU, with constant statistics."""

    normalised: Tensor
    """Gradient of the normalised maps before the scale, (B, C, T, H, W)."""
    weight: Tensor
    """Gradient of the scale, (C,)."""
    bias: Tensor
    """Gradient of the shift, (C,)."""


def norm_relu_backward(
    grad: Tensor, output: Tensor, *, maps: Tensor, statistics: Statistics, norm: Norm
) -> NormReluGrad:
    """Gradients of `norm_relu`, except for that through the statistics, which `StatsGrad` sums.

    Args:
        grad: Of the output; overwritten.
        output: Of the forward pass; overwritten.
        maps: Input of the forward pass.
        statistics: Likewise.
        norm: Likewise.
    """
    grad = torch.ops.aten.threshold_backward(grad, output, 0, grad_input=grad)
    bias = grad.sum(_EACH_CHANNEL, dtype=statistics.mean.dtype)
    centred = torch.sub(maps, along_channels(statistics.mean, maps), out=output)
    along = centred.mul_(grad).sum(_EACH_CHANNEL, dtype=statistics.mean.dtype)
    return NormReluGrad(grad, along * statistics.inverse_deviation(norm), bias)


class StatsGrad:
    """Gradient of maps through their statistics, summed over the layers that share them."""

    def __init__(self, statistics: Statistics, norm: Norm) -> None:
        self.statistics = statistics
        self.inverse_deviation = statistics.inverse_deviation(norm)
        self.mean = torch.zeros_like(statistics.mean)
        self.deviation = torch.zeros_like(statistics.mean)

    def add(self, grad: NormReluGrad, norm: Norm) -> None:
        """Add a layer that normalised the first channels."""
        channels = len(grad.bias)
        scale = norm.weight * self.inverse_deviation[:channels]
        self.mean[:channels] += scale * grad.bias
        self.deviation[:channels] += scale * grad.weight

    def add_to(self, grad: Tensor, maps: Tensor, channels: slice) -> Tensor:
        """Add to the direct gradient of some channels, after every layer that uses them was added."""
        number = num_values(maps)
        centred = maps - along_channels(self.statistics.mean[channels], maps)
        slope = along_channels(-self.deviation[channels] * self.inverse_deviation[channels] / number, grad)
        constant = along_channels(-self.mean[channels] / number, grad)
        return torch.addcmul(grad, centred, slope, out=centred).add_(constant)


def memory_format(maps: Tensor) -> torch.memory_format:
    """Memory format of maps, also of slices of channels."""
    strides = maps.stride()
    last = strides[1] == 1 and maps.shape[1] > 1 and math.prod(maps.shape[2:]) > 1
    return torch.channels_last_3d if last else torch.contiguous_format
