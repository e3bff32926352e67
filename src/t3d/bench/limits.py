"""What this machine can do at best, measured now: products of matrices and convolutions. No network is run."""

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Literal

import torch
import torch.nn.functional as F

Precision = Literal["float32", "bf16"]

_MATRICES = (1024, 2048)
"""Edges of square matrices."""
_MAPS = ((128, 8, 28), (256, 4, 28), (512, 4, 14))
"""Channels, frames and edge of feature maps, with as many channels out."""
_KERNEL = 3
_DTYPES: dict[Precision, torch.dtype] = {"float32": torch.float32, "bf16": torch.bfloat16}


@dataclass(frozen=True, kw_only=True)
class Limits:
    """Best rates; each is the fastest of several sizes, forms and repetitions."""

    product: dict[Precision, float]
    """Operations a second of a product of matrices, two a multiply-add."""
    convolution: dict[Precision, float]
    """Operations a second of a 3 x 3 x 3 convolution."""

    def rate(self, precision: Precision) -> float:
        """The better of product and convolution."""
        return max(self.product[precision], self.convolution[precision])


def best_of(found: Sequence[Limits]) -> Limits:
    """The best of several measurements, for what else a machine does comes and goes."""
    return Limits(
        product={name: max(one.product[name] for one in found) for name in _DTYPES},
        convolution={name: max(one.convolution[name] for one in found) for name in _DTYPES},
    )


@torch.inference_mode()
def measure_limits(*, threads: int, device: str = "cpu", repeats: int = 3) -> Limits:
    """Measure in this process.

    Args:
        threads: CPU threads of torch while it is measured.
        device: Where.
        repeats: Of each size, after one that is not timed.
    """
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        return Limits(
            product={name: _best(_products(dtype, device), repeats, device) for name, dtype in _DTYPES.items()},
            convolution={name: _best(_convolutions(dtype, device), repeats, device) for name, dtype in _DTYPES.items()},
        )
    finally:
        torch.set_num_threads(before)


Task = tuple[float, Callable[[], object]]
"""How much a step does, and the step."""


def _best(tasks: Iterator[Task], repeats: int, device: str) -> float:
    return max(amount / _fastest(step, repeats, device) for amount, step in tasks)


def _fastest(step: Callable[[], object], repeats: int, device: str) -> float:
    seconds = []
    for _ in range(repeats + 1):
        start = time.perf_counter()
        step()
        if device != "cpu":
            torch.cuda.synchronize()
        seconds.append(time.perf_counter() - start)
    return min(seconds[1:])


def _products(dtype: torch.dtype, device: str) -> Iterator[Task]:
    for edge in _MATRICES:
        left, right = (torch.rand(edge, edge, dtype=dtype, device=device) for _ in range(2))
        yield 2.0 * edge**3, partial(torch.mm, left, right)


def _convolutions(dtype: torch.dtype, device: str) -> Iterator[Task]:
    for channels, frames, edge in _MAPS:
        clips = torch.rand(2, channels, frames, edge, edge, dtype=dtype, device=device)
        weight = torch.rand(channels, channels, *[_KERNEL] * 3, dtype=dtype, device=device)
        flops = 2.0 * clips.numel() * channels * _KERNEL**3
        for form in (torch.contiguous_format, torch.channels_last_3d):
            shaped, kernel = clips.contiguous(memory_format=form), weight.contiguous(memory_format=form)
            yield flops, partial(F.conv3d, shaped, kernel, padding=_KERNEL // 2)
