"""Average pool of two right after a convolution, for an eighth of the convolution's arithmetic.

Convolution and averaging are linear and shift-invariant, so they commute: neighbours are averaged first, and every
second position is convolved. With x continued by zeros, taps k[0], k[1], ..., p of them before a position, and
b[m] = (x[m] + x[m + 1]) / 2, in each halved axis

    avgpool(conv(x))[n] = sum over j of k[j] b[2 n + j - p].

Averaging the kernel instead of the maps gives the same result with a kernel larger by one in each axis: 64 taps instead
of 27. Nothing nonlinear or random may stand between convolution and pool.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from t3d.models.fast.batch_norm import memory_format
from t3d.models.layers import Size


@dataclass(frozen=True, kw_only=True)
class PoolThenConv:
    """A convolution of stride 1 with an average pool of two after it, as sums of neighbours and a smaller convolution.

    Args:
        kernel: Taps in (T, H, W).
        before: Taps before the position.
        pool: 2 in each axis that is halved, 1 in the others; an odd last position is dropped.
    """

    kernel: Size
    before: Size
    pool: Size

    @property
    def stride(self) -> Size:
        """Stride of the convolution of the sums. For a single tap, only the needed sums are computed."""
        time, height, width = (1 if taps == 1 else size for taps, size in zip(self.kernel, self.pool, strict=True))
        return time, height, width

    def padding(self, maps: Tensor) -> Size:
        """Padding of the convolution of the sums."""
        time, height, width = (axis.padding for axis in self._axes(maps))
        return time, height, width

    @property
    def factor(self) -> float:
        """Factor from sums to averages: a power of two, so that it causes no rounding wherever it is applied."""
        return 1.0 / (self.pool[0] * self.pool[1] * self.pool[2])

    def sums(self, maps: Tensor) -> Tensor:
        """Sum neighbours of maps (B, C, T, H, W) in each halved axis: the input of the convolution."""
        axes = self._axes(maps)
        if not _can_write_in_place():
            maps = _pad(maps, {axis.number: axis.zeros for axis in axes})
            axes = [axis._replace(zeros=(0, 0)) for axis in axes]
        for axis in axes:
            if axis.pairs:
                maps = _pairs(_pad(maps, {axis.number: axis.zeros}), axis.number)
            elif axis.neighbours:
                maps = _neighbours(maps, axis.number, axis.zeros)
            else:
                maps = _pad(maps, {axis.number: axis.zeros})
        return maps

    def backward(self, grad: Tensor, maps: Tensor) -> Tensor:
        """Gradient of the maps, given that of their `sums`; only the shape of the maps is used."""
        for axis in self._axes(maps):
            before, after = axis.zeros
            if axis.pairs:
                grad = _pad(_twice(grad, axis.number), {axis.number: (-before, -after)})
            elif axis.neighbours:
                grad = _neighbours(grad, axis.number, (1 - before, 1 - after))
            else:
                grad = _pad(grad, {axis.number: (-before, -after)})
        return grad

    def _axes(self, maps: Tensor) -> "list[_Axis]":
        return [
            _axis(number, maps.shape[number], taps=taps, before=before, size=size)
            for number, taps, before, size in zip((2, 3, 4), self.kernel, self.before, self.pool, strict=True)
        ]


def smoothed(kernels: Tensor, pool: Size) -> Tensor:
    """Average kernels (O, C, T, H, W) with themselves shifted by one tap, in each halved axis; they grow by one."""
    for axis, size in zip((2, 3, 4), pool, strict=True):
        if size == 2:
            nothing = torch.zeros_like(kernels.narrow(axis, 0, 1))
            kernels = (torch.cat([kernels, nothing], axis) + torch.cat([nothing, kernels], axis)) / 2
    return kernels


class _Axis(NamedTuple):
    number: int
    zeros: tuple[int, int]
    """Zeros to add before the first and after the last position; negative if positions are dropped."""
    padding: int
    """Further zeros on both sides, as padding of the convolution."""
    pairs: bool
    """Only the sums of positions 0 and 1, 2 and 3, ... are needed."""
    neighbours: bool
    """The sums of 0 and 1, 1 and 2, ... are needed."""


def _axis(number: int, length: int, *, taps: int, before: int, size: int) -> _Axis:
    needed = size * (length // size) + taps - 1  # positions used, zeros included
    after = needed - before - length
    spare = before - size + 1
    padding = spare if spare > 0 and after - spare >= size - 1 else 0
    return _Axis(
        number,
        zeros=(before - padding, after - padding),
        padding=padding,
        pairs=size == 2 and taps == 1,
        neighbours=size == 2 and taps > 1,
    )


def _pad(maps: Tensor, zeros: Mapping[int, tuple[int, int]]) -> Tensor:
    """Put so many zeros before and after maps in some axes; less than none drops positions."""
    flat = [amount for axis in (4, 3, 2) for amount in zeros.get(axis, (0, 0))]  # F.pad: last axis first
    if max(flat) <= 0:
        for axis, (before, after) in zeros.items():
            maps = maps.narrow(axis, -before, maps.shape[axis] + before + after) if before or after else maps
        return maps
    return F.pad(maps, flat)


def _pairs(maps: Tensor, axis: int) -> Tensor:
    """x[0] + x[1], x[2] + x[3], ..."""
    first, second = maps.unflatten(axis, (-1, 2)).unbind(axis + 1)
    return first + second


def _neighbours(maps: Tensor, axis: int, zeros: tuple[int, int]) -> Tensor:
    """x[0] + x[1], x[1] + x[2], ..., of maps with so many zeros before and after; less than none drops positions.

    Zeros are not copied into the maps first, which would be a pass over a map of odd, slow sizes.
    """
    maps = _pad(maps, {axis: (min(zeros[0], 0), min(zeros[1], 0))})
    before, after, length = max(zeros[0], 0), max(zeros[1], 0), maps.shape[axis]
    first, second = maps.narrow(axis, 0, length - 1), maps.narrow(axis, 1, length - 1)
    if not (before or after):
        return first + second
    sums = _empty(maps, axis, before + length - 1 + after)
    torch.add(first, second, out=sums.narrow(axis, before, length - 1))
    if before:
        sums.narrow(axis, 0, before - 1).zero_()
        sums.narrow(axis, before - 1, 1).copy_(maps.narrow(axis, 0, 1))
    if after:
        sums.narrow(axis, before + length - 1, 1).copy_(maps.narrow(axis, length - 1, 1))
        sums.narrow(axis, before + length, after - 1).zero_()
    return sums


def _twice(grad: Tensor, axis: int) -> Tensor:
    """x[0], x[0], x[1], x[1], ..., in the same order in memory."""
    twice = _empty(grad, axis, 2 * grad.shape[axis])
    twice.unflatten(axis, (-1, 2)).copy_(grad.unsqueeze(axis + 1))
    return twice


def _can_write_in_place() -> bool:
    """Whether a result may be put together piece by piece: gradients, compilers and exports want whole operations."""
    return not (torch.is_grad_enabled() or torch.compiler.is_compiling() or torch.jit.is_tracing())


def _empty(like: Tensor, axis: int, length: int) -> Tensor:
    """An empty map that has this length in one axis."""
    size = [*like.shape]
    size[axis] = length
    return torch.empty(size, dtype=like.dtype, device=like.device, memory_format=memory_format(like))
