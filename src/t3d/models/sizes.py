"""Lengths in (T, H, W): what padding keeps them, and how long a clip must be for something to be left of it."""

from collections.abc import Sequence

Size = tuple[int, int, int]
"""(T, H, W)."""


def half(kernel: Size) -> Size:
    """The padding that keeps every length at stride 1, for odd kernels."""
    return kernel[0] // 2, kernel[1] // 2, kernel[2] // 2


def rounded_up(needed: Size, stride: Size) -> Size:
    """Smallest lengths that a padded layer of odd kernel, which rounds up, turns into the needed ones."""
    time, height, width = ((length - 1) * step + 1 for length, step in zip(needed, stride, strict=True))
    return time, height, width


def halved(needed: Size, *, time_stride: int, keep_last_plane: bool = False) -> Size:
    """Smallest lengths that a `HalvingPool`, which rounds down, turns into the needed ones."""
    kept = keep_last_plane and needed[0] == 1
    return 1 if kept else needed[0] * time_stride, 2 * needed[1], 2 * needed[2]


def times(size: Sequence[int]) -> str:
    """A size as errors show it, such as 16 x 112 x 112."""
    return " x ".join(str(length) for length in size)
