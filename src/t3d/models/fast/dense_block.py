"""Fused training step of a dense block, with an explicit gradient.

All layers write into one map instead of concatenating repeatedly, share the statistics of its channels, and store only
that map and each layer's narrow one for the gradient. Outputs, gradients and running statistics equal those of the
plain layers up to rounding.

Source: Huang et al. 2017, arXiv:1608.06993, section 3; Pleiss et al. 2017, arXiv:1707.06990, for the shared map.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor
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
    memory_format,
    norm_relu,
    norm_relu_backward,
    num_values,
    update_running_statistics,
)
from t3d.models.fast.convolutions import conv3d_backward, is_replaceable
from t3d.models.layers import Size
from t3d.models.t3d import DenseBlock, DenseLayer, NormReluConv


class FusedDenseBlock(DenseBlock):
    """A dense block that trains by `DenseBlockFunction` where `supports_fused` and the norms are in training.

    Otherwise (evaluation, frozen norms, float16, compilers) the plain layers are used. Hooks on layers inside are not
    called by a fused step.
    """

    recompute = False
    """Also recompute the narrow maps for the gradient: less memory, more time."""

    def forward(self, features: Tensor) -> Tensor:
        """Map (B, C, T, H, W) to (B, C + num_layers * growth_rate, T, H, W)."""
        pairs = layer_pairs(self)
        norms = [part.norm for pair in pairs for part in pair]
        if not (supports_fused(self) and can_share_statistics(features, norms)):
            return super().forward(features)
        layers, eps = [_tensors_of(pair) for pair in pairs], norms[0].eps
        options = _Options([_padding(grow) for _, grow in pairs], eps=eps, recompute=self.recompute)
        parameters = [tensor for layer in layers for tensor in layer]
        grown, mean, variance, *own = DenseBlockFunction.apply(features, options, *parameters)
        if not is_recomputing():
            statistics = [Statistics(mean, variance).first(len(layer.squeeze_weight)) for layer in layers]
            for index, (squeeze, grow) in enumerate(pairs):
                update_running_statistics(squeeze.norm, statistics[index], num_values(features))
                update_running_statistics(grow.norm, Statistics(*own[2 * index : 2 * index + 2]), num_values(features))
        return grown


def supports_fused(block: DenseBlock) -> bool:
    """Whether the fused step computes this block: no dropout, repeated planes or exchanged convolutions."""
    drops = any(layer.dropout.p for layer in block if isinstance(layer, DenseLayer))
    parts = [part for pair in layer_pairs(block) for part in pair]
    usual = all(part.repeats == (0, 0) and not part.extra_planes and is_replaceable(part.conv) for part in parts)
    return usual and not drops


def layer_pairs(block: DenseBlock) -> list[tuple[NormReluConv, NormReluConv]]:
    """Both `NormReluConv` of each layer."""
    return [(layer.squeeze, layer.grow) for layer in block if isinstance(layer, DenseLayer)]


class _LayerTensors(NamedTuple):
    """The parameters of a layer, in the order of the function's arguments and gradients."""

    squeeze_weight: Tensor
    squeeze_bias: Tensor
    squeeze_kernel: Tensor
    grow_weight: Tensor
    grow_bias: Tensor
    grow_kernel: Tensor


class _Options(NamedTuple):
    paddings: Sequence[Size]
    """Padding of the second convolution of each layer."""
    eps: float
    recompute: bool


class _Layer(NamedTuple):
    """A layer as the function computes it."""

    squeeze: Norm
    squeeze_kernel: Tensor
    grow: Norm
    grow_kernel: Tensor
    padding: Size


def _tensors_of(pair: tuple[NormReluConv, NormReluConv]) -> _LayerTensors:
    squeeze, grow = pair
    return _LayerTensors(
        squeeze.norm.weight, squeeze.norm.bias, squeeze.conv.weight, grow.norm.weight, grow.norm.bias, grow.conv.weight
    )


def _padding(grow: NormReluConv) -> Size:
    time, height, width = (length // 2 for length in grow.conv.kernel_size)
    return time, height, width


def _layers(parameters: Sequence[Tensor], options: _Options) -> list[_Layer]:
    layers: list[_Layer] = []
    each = len(_LayerTensors._fields)
    for index, padding in enumerate(options.paddings):
        own = _LayerTensors(*parameters[each * index : each * (index + 1)])
        squeeze = Norm(own.squeeze_weight, own.squeeze_bias, options.eps)
        grow = Norm(own.grow_weight, own.grow_bias, options.eps)
        layers.append(_Layer(squeeze, own.squeeze_kernel, grow, own.grow_kernel, padding))
    return layers


class DenseBlockFunction(torch.autograd.Function):
    """Training step of a block: from features and all parameters to the grown map and the batch statistics.

    Does not modify its arguments; not differentiable twice.
    """

    @staticmethod
    def forward(
        ctx: Any,  # noqa: ANN401  (PyTorch's own)
        features: Tensor,
        options: _Options,
        *parameters: Tensor,
    ) -> tuple[Tensor, ...]:
        """Return the grown map, mean and variance of its channels, and those of each layer's narrow map."""
        layers = _layers(parameters, options)
        channels = features.shape[1]
        grown, shared = _allocate(features, channels + sum(len(layer.grow_kernel) for layer in layers))
        _append(grown, shared, features, channels)
        own_statistics: list[Tensor] = []
        narrow_maps: list[Tensor] = []
        workspace = Workspace(grown)
        for layer in layers:
            seen = norm_relu(grown[:, :channels], shared.first(channels), layer.squeeze, workspace)
            narrow = F.conv3d(seen, layer.squeeze_kernel)  # (B, bottleneck * growth_rate, T, H, W)
            own = compute_statistics(narrow)
            new = F.conv3d(norm_relu(narrow, own, layer.grow), layer.grow_kernel, padding=layer.padding)
            own_statistics += own
            narrow_maps += [] if options.recompute else [narrow]
            channels += new.shape[1]
            _append(grown, shared, new, channels)
        ctx.options, ctx.dtype, ctx.num_layers = options, narrow.dtype, len(layers)
        ctx.save_for_backward(grown, *shared, *own_statistics, *narrow_maps, *parameters)
        ctx.mark_non_differentiable(*shared, *own_statistics)
        ctx.set_materialize_grads(False)
        return grown, *shared, *own_statistics

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad_out: Tensor, *_: None) -> tuple[Tensor | None, ...]:  # noqa: ANN401
        """Return the gradients of the features and of the parameters, in the order of the arguments."""
        number, num_narrow = ctx.num_layers, 0 if ctx.options.recompute else ctx.num_layers
        grown, mean, variance, *kept = ctx.saved_tensors
        own_statistics = [Statistics(*kept[2 * index : 2 * index + 2]) for index in range(number)]
        narrow_maps, parameters = kept[2 * number : 2 * number + num_narrow], kept[2 * number + num_narrow :]
        layers, shared = _layers(parameters, ctx.options), Statistics(mean, variance)
        stats_grad = StatsGrad(shared, layers[0].squeeze)
        workspace = Workspace(grown)
        grad = grad_out  # must not be overwritten: others may hold it
        channels = grown.shape[1]
        found: list[Tensor] = []
        for index in reversed(range(number)):
            layer = layers[index]
            channels -= len(layer.grow_kernel)
            new = slice(channels, channels + len(layer.grow_kernel))
            grad_new = stats_grad.add_to(grad[:, new], grown[:, new], new).to(ctx.dtype)
            maps, known = grown[:, :channels], shared.first(channels)
            seen = norm_relu(maps, known, layer.squeeze, workspace)
            if ctx.options.recompute:
                narrow = F.conv3d(seen.to(ctx.dtype), layer.squeeze_kernel.to(ctx.dtype))
            else:
                narrow = narrow_maps[index]
            grad_narrow, grow_grads = _grow_backward(grad_new, narrow, own_statistics[index], layer)
            grad_seen, grad_kernel = conv3d_backward(grad_narrow, seen, layer.squeeze_kernel)
            back = norm_relu_backward(grad_seen.to(grown.dtype), seen, maps=maps, statistics=known, norm=layer.squeeze)
            stats_grad.add(back, layer.squeeze)
            scale = along_channels(known.scale(layer.squeeze), grad)
            grad = torch.addcmul(grad[:, :channels], back.normalised, scale, out=back.normalised)
            found = [back.weight, back.bias, grad_kernel, *grow_grads, *found]
        return stats_grad.add_to(grad, grown[:, :channels], slice(channels)), None, *found


def _grow_backward(
    grad: Tensor, narrow: Tensor, own: Statistics, layer: _Layer
) -> tuple[Tensor, tuple[Tensor, Tensor, Tensor]]:
    """Gradients of a layer's narrow map, and of the parameters of its second half."""
    seen = norm_relu(narrow, own, layer.grow)
    grad = grad.contiguous(memory_format=memory_format(narrow))
    grad_seen, grad_kernel = conv3d_backward(grad, seen, layer.grow_kernel, padding=layer.padding)
    back = norm_relu_backward(grad_seen, seen, maps=narrow, statistics=own, norm=layer.grow)
    stats_grad = StatsGrad(own, layer.grow)
    stats_grad.add(back, layer.grow)
    grad_narrow = back.normalised.mul_(along_channels(own.scale(layer.grow), narrow))
    return stats_grad.add_to(grad_narrow, narrow, slice(None)), (back.weight, back.bias, grad_kernel)


def _allocate(features: Tensor, channels: int) -> tuple[Tensor, Statistics]:
    """A map for all channels, and their statistics, empty."""
    size = (features.shape[0], channels, *features.shape[2:])
    grown = features.new_empty(size).to(memory_format=memory_format(features))
    dtype = torch.promote_types(features.dtype, torch.float32)
    return grown, Statistics(features.new_empty(channels, dtype=dtype), features.new_empty(channels, dtype=dtype))


def _append(grown: Tensor, shared: Statistics, maps: Tensor, end: int) -> None:
    """Write maps, and their statistics, into the channels before `end`."""
    new = slice(end - maps.shape[1], end)
    grown[:, new] = maps
    found = compute_statistics(grown[:, new])
    shared.mean[new], shared.variance[new] = found.mean, found.variance
