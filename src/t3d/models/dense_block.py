"""A block of dense layers, each of which appends channels to what all before it made; and one step of its training.

A training step is not left to automatic differentiation: all layers write into one map instead of concatenating again
and again, share the statistics of its channels, and keep nothing for the gradient but that map and each layer's narrow
one. Outputs, gradients and running statistics are those of the plain layers up to rounding. Scoring, dropout, repeated
planes and exports go through the plain layers.

Source: Huang et al. 2017, arXiv:1608.06993, section 3; Pleiss et al. 2017, arXiv:1707.06990, for the shared map.
"""

from collections import OrderedDict
from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from t3d.errors import ConfigError
from t3d.models.composite import NormReluConv, convolve_back
from t3d.models.shared_norm import (
    Room,
    Statistics,
    Through,
    along_channels,
    back_through,
    can_share,
    count,
    memory_format,
    rectified,
    remember,
    statistics,
)


class DenseLayer(nn.Module):
    """Append channels, made from all that came before.

    Args:
        in_channels: All that came before.
        growth_rate: Channels appended.
        width: Channels in between.
        time_kernel: Frames the second convolution looks at.
        replicate_time: See `NormReluConv`.
        dropout: Of the new channels.

    Source: Huang et al. 2017, arXiv:1608.06993, section 3, in three dimensions.
    """

    def __init__(
        self,
        in_channels: int,
        growth_rate: int,
        *,
        width: int,
        time_kernel: int = 3,
        replicate_time: bool = False,
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        self.squeeze = NormReluConv(in_channels, width)
        self.grow = NormReluConv(width, growth_rate, kernel=(time_kernel, 3, 3), replicate_time=replicate_time)
        self.dropout = nn.Dropout(dropout)

    def forward(self, features: Tensor) -> Tensor:
        """Map (B, C, T, H, W) to (B, C + growth_rate, T, H, W)."""
        return torch.cat([features, self.dropout(self.grow(self.squeeze(features)))], dim=1)


class DenseBlock(nn.Sequential):
    """Dense layers one after the other, named `layer1`, `layer2`, ...

    Attributes:
        recompute: In training, compute the narrow maps anew, too, for the gradient: less memory, more time.
    """

    def __init__(self, layers: Sequence[DenseLayer]) -> None:
        super().__init__(OrderedDict((f"layer{number}", layer) for number, layer in enumerate(layers, start=1)))
        self.recompute = False
        self.appended = sum(layer.grow.conv.out_channels for layer in layers)

    def forward(self, features: Tensor) -> Tensor:
        """Map (B, C, T, H, W) to (B, C + all that the layers append, T, H, W)."""
        if not self._can_share(features):
            grown: Tensor = super().forward(features)
            return grown
        grown = _Growth.apply(features, self, *self.parameters())
        return grown

    @property
    def by_hand(self) -> bool:
        """Whether its layers are such that a training step of it can be the one written here."""
        parts = (part for pair in _pairs(self) for part in pair)
        drops = any(layer.dropout.p for layer in self if isinstance(layer, DenseLayer))
        return not drops and all(part.repeats == (0, 0) and not part.extra_planes for part in parts)

    def _can_share(self, features: Tensor) -> bool:
        return self.by_hand and can_share(features, (part.norm for pair in _pairs(self) for part in pair))


def can_recompute(network: nn.Module) -> bool:
    """Whether `recompute` would save memory in training."""
    return any(block.by_hand and not block.recompute for block in _blocks(network))


def _blocks(network: nn.Module) -> list[DenseBlock]:
    return [module for module in network.modules() if isinstance(module, DenseBlock)]


def recompute(network: nn.Module, enabled: bool = True) -> None:
    """Let the dense blocks of a network compute their narrow maps anew for the gradient: less memory, more time.

    Raises:
        ConfigError: It has no dense blocks, or such that it would change nothing.
    """
    blocks = _blocks(network)
    if not blocks:
        raise ConfigError("only dense blocks can be computed anew, and this network has none; use T3D or DenseNet3D")
    if enabled and not any(block.by_hand for block in blocks):
        raise ConfigError("dense blocks with dropout or repeated planes cannot be computed anew; leave out --recompute")
    for block in blocks:
        block.recompute = enabled


class _Growth(torch.autograd.Function):
    """A training step of a block."""

    @staticmethod
    def forward(ctx: Any, features: Tensor, block: DenseBlock, *parameters: Tensor) -> Tensor:  # noqa: ANN401
        channels, number = features.shape[1], count(features)
        grown, shared = _room(features, channels + block.appended)
        _append(grown, shared, features, channels)
        kept: list[Tensor] = []
        room = Room(grown)
        for squeeze, grow in _pairs(block):
            seen = shared.first(channels)
            narrow = squeeze.conv(rectified(grown[:, :channels], seen, squeeze.norm, room))
            own = statistics(narrow)
            appended = grow.conv(rectified(narrow, own, grow.norm))
            remember(squeeze.norm, seen, number)
            remember(grow.norm, own, number)
            kept += [*own, *([] if block.recompute else [narrow])]
            channels += appended.shape[1]
            _append(grown, shared, appended, channels)
        ctx.block, ctx.format, ctx.recompute = block, narrow.dtype, block.recompute
        ctx.save_for_backward(grown, *shared, *kept, *parameters)
        return grown

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:  # noqa: ANN401
        grown, mean, variance, *kept = ctx.saved_tensors
        pairs, shared = _pairs(ctx.block), Statistics(mean, variance)
        through = Through(shared, pairs[0][0].norm)
        room = Room(grown)
        grad = grads[0]  # not to be written to: others may hold it
        channels, each = grown.shape[1], 2 if ctx.recompute else 3
        found: list[Tensor] = []
        for index in reversed(range(len(pairs))):
            squeeze, grow = pairs[index]
            own_mean, own_variance, *narrow = kept[each * index : each * (index + 1)]
            channels -= grow.conv.out_channels
            new = slice(channels, channels + grow.conv.out_channels)
            of_new = through.settle(grad[:, new], grown[:, new], new).to(ctx.format)
            maps, known = grown[:, :channels], shared.first(channels)
            seen = rectified(maps, known, squeeze.norm, room)
            if not narrow:
                narrow = [F.conv3d(seen.to(ctx.format), squeeze.conv.weight.to(ctx.format))]
            of_narrow, of_grow = _back_to_narrow(of_new, narrow[0], Statistics(own_mean, own_variance), grow)
            of_seen, of_weight = convolve_back(of_narrow, seen, squeeze.conv.weight)
            back = back_through(of_seen.to(grown.dtype), seen, maps=maps, shared=known, norm=squeeze.norm)
            through.add(back, squeeze.norm)
            scale = along_channels(known.scale(squeeze.norm), grad)
            grad = torch.addcmul(grad[:, :channels], back.grad, scale, out=back.grad)
            found = [back.weight, back.bias, of_weight, *of_grow, *found]
        return through.settle(grad, grown[:, :channels], slice(channels)), None, *found


def _pairs(block: DenseBlock) -> list[tuple[NormReluConv, NormReluConv]]:
    return [(layer.squeeze, layer.grow) for layer in block if isinstance(layer, DenseLayer)]


def _back_to_narrow(
    grad: Tensor, narrow: Tensor, own: Statistics, grow: NormReluConv
) -> tuple[Tensor, tuple[Tensor, Tensor, Tensor]]:
    """Gradients of a layer's narrow map, and of the parameters behind it."""
    seen = rectified(narrow, own, grow.norm)
    grad = grad.contiguous(memory_format=memory_format(narrow))
    of_seen, of_weight = convolve_back(grad, seen, grow.conv.weight, padding=grow.padding)
    back = back_through(of_seen, seen, maps=narrow, shared=own, norm=grow.norm)
    through = Through(own, grow.norm)
    through.add(back, grow.norm)
    of_narrow = back.grad.mul_(along_channels(own.scale(grow.norm), narrow))
    return through.settle(of_narrow, narrow, slice(None)), (back.weight, back.bias, of_weight)


def _room(features: Tensor, channels: int) -> tuple[Tensor, Statistics]:
    """A map for all channels, and one for their statistics, empty."""
    size = (features.shape[0], channels, *features.shape[2:])
    grown = features.new_empty(size).to(memory_format=memory_format(features))
    dtype = torch.promote_types(features.dtype, torch.float32)
    return grown, Statistics(*features.new_empty(2, channels, dtype=dtype))


def _append(grown: Tensor, shared: Statistics, maps: Tensor, end: int) -> None:
    """Write maps, and their statistics, into the channels before `end`."""
    new = slice(end - maps.shape[1], end)
    grown[:, new] = maps
    found = statistics(grown[:, new])
    shared.mean[new], shared.variance[new] = found.mean, found.variance
