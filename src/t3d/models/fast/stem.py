"""A training step of a stem on a CPU, with BN and ReLU after the max pool, on a quarter of the places.

Scaling by a positive number, shifting and rectifying keep the order of values, so they may come after the maximum.
Where the scale is negative, the kernel changes its sign, and so does the scale. The statistics are those of all places
before the pool. The convolution writes the channels of a place side by side (channels_last), where the max pool is
vectorised: 8 ms instead of 67 for 16 maps of 24 x 8 x 32 x 32 on an AVX2 core.
"""

from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from t3d.models.fast.batch_norm import (
    Statistics,
    along_channels,
    can_share_statistics,
    is_recomputing,
    memory_format,
    num_values,
    update_running_statistics,
)
from t3d.models.fast.convolutions import Lengths, conv3d_weight_grad, is_replaceable
from t3d.models.t3d import Stem

_WIDE = 64
"""From so many channels on, the layers behind are faster when each channel's map lies in one piece.

With channels_last maps behind the stem, a step takes 0.82 (AVX-512) and 0.87 x (AVX2) the time for t3d_tiny (24
channels), and 1.19 and 1.09 x for densenet3d_121 (64): above all for kernel gradients of wide 1x1x1 convolutions.
"""


class FusedStem(Stem):
    """A stem that trains by `StemFunction` where `_can_pool_first`; otherwise its plain layers are used.

    With hooks on the layers inside, the plain layers are used.
    """

    def forward(self, clips: Tensor) -> Tensor:
        """Map (B, C, T, H, W) to (B, stem_channels, T / 2, H / 4, W / 4), by the strides of Table 1."""
        if not _can_pool_first(self, clips):
            return super().forward(clips)
        conv, norm, pool = self.conv, self.norm, self.pool
        options = _Options(
            stride=conv.stride,
            padding=tuple(length // 2 for length in conv.kernel_size),
            pool_kernel=_three(pool.kernel_size),
            pool_stride=_three(pool.stride),
            pool_padding=_three(pool.padding),
            eps=norm.eps,
        )
        out, mean, variance, places = StemFunction.apply(clips, options, conv.weight, norm.weight, norm.bias)
        if not is_recomputing():
            update_running_statistics(norm, Statistics(mean, variance), places)
        return out


def _can_pool_first(stem: Stem, clips: Tensor) -> bool:
    """Whether a training step of this stem can be the one written here. A gradient of the clips is not computed."""
    exact = (torch.float32, torch.float64)  # half precisions round normalised values, so their maxima may differ
    return (
        stem.repeats == (0, 0)
        and is_replaceable(stem.conv)
        and type(stem.pool) is nn.MaxPool3d
        and not stem.pool.ceil_mode
        and stem.pool.dilation == 1
        and clips.device.type == "cpu"
        and clips.dtype == stem.conv.weight.dtype
        and clips.dtype in exact
        and not torch.is_autocast_enabled("cpu")
        and not clips.requires_grad
        and can_share_statistics(clips, [stem.norm])
    )


class _Options(NamedTuple):
    stride: tuple[int, ...]
    padding: tuple[int, ...]
    pool_kernel: tuple[int, ...]
    pool_stride: tuple[int, ...]
    pool_padding: tuple[int, ...]
    eps: float


class StemFunction(torch.autograd.Function):
    """`max_pool(relu(norm(conv(clips))))` of a batch, and its statistics.

    Changes nothing it is given; not differentiable twice. Where places of a window are equal, the first has the
    gradient, as in PyTorch. A scale of exactly 0 makes all places equal for the plain layers only, so its gradient is
    another one there.
    """

    @staticmethod
    def forward(
        ctx: Any,  # noqa: ANN401  (PyTorch's own)
        clips: Tensor,
        options: _Options,
        kernel: Tensor,
        scale: Tensor,
        bias: Tensor,
    ) -> tuple[Tensor, Tensor, Tensor, int]:
        """Give the pooled maps; mean and variance of the convolved ones, (C,); and of how many values these are."""
        sign = torch.where(scale < 0, -1.0, 1.0).to(scale.dtype)
        signed = (kernel * _each_kernel(sign)).contiguous(memory_format=torch.channels_last_3d)
        maps = F.conv3d(clips, signed, None, options.stride, options.padding)
        mean, variance = torch.batch_norm_update_stats(maps, None, None, 0.0)
        inverse = (variance + options.eps).rsqrt()
        factor = scale.abs() * inverse
        pooled, places = F.max_pool3d(
            maps, options.pool_kernel, options.pool_stride, options.pool_padding, return_indices=True
        )
        out = torch.addcmul(
            along_channels(bias - mean * factor, pooled), pooled, along_channels(factor, pooled)
        ).relu_()  # (B, stem_channels, T / 2, H / 4, W / 4)
        if out.shape[1] >= _WIDE:
            out = out.contiguous()
        ctx.options = options
        ctx.save_for_backward(clips, maps, pooled, places, out, mean, inverse, factor, sign, kernel)
        true_mean = mean * sign
        ctx.mark_non_differentiable(true_mean, variance)
        ctx.set_materialize_grads(False)
        return out, true_mean, variance, num_values(maps)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad_out: Tensor, *_: None) -> tuple[Tensor | None, ...]:  # noqa: ANN401
        """Give the gradients of kernel, scale and bias.

        A convolved value x, normalised to n, has factor * (g - (sum g + n * sum g n) / number), with g what the pool
        sends it and sums over all places of its channel.
        """
        clips, maps, pooled, places, out, mean, inverse, factor, sign, kernel = ctx.saved_tensors
        options, axes = ctx.options, (0, 2, 3, 4)
        last = memory_format(maps)
        grad = torch.ops.aten.threshold_backward(
            grad_out.contiguous(memory_format=last), out.contiguous(memory_format=last), 0
        )
        grad_bias = grad.sum(axes)
        grad_scale = torch.sub(pooled, along_channels(mean, pooled)).mul_(grad).sum(axes).mul_(inverse)
        grad_maps = torch.ops.aten.max_pool3d_with_indices_backward(
            grad.mul_(along_channels(factor, grad)),
            maps,
            options.pool_kernel,
            options.pool_stride,
            options.pool_padding,
            (1, 1, 1),
            False,
            places,
        )
        slope = -factor * inverse * grad_scale / num_values(maps)
        constant = -factor * grad_bias / num_values(maps) - slope * mean
        grad_maps.addcmul_(maps, along_channels(slope, maps)).add_(along_channels(constant, maps))
        grad_kernel = None
        if ctx.needs_input_grad[2]:
            signed = conv3d_weight_grad(grad_maps, clips, kernel, stride=options.stride, padding=options.padding)
            grad_kernel = signed * _each_kernel(sign)
        return None, None, grad_kernel, grad_scale * sign, grad_bias


def _each_kernel(values: Tensor) -> Tensor:
    """Give values (O,) the form in which they go with kernels (O, C, T, H, W)."""
    return values.view(-1, 1, 1, 1, 1)


def _three(lengths: Lengths) -> tuple[int, ...]:
    return (lengths,) * 3 if isinstance(lengths, int) else lengths
