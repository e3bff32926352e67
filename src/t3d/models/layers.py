"""Layers, padding and spec checks shared by several families; sizes are (T, H, W)."""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from t3d.errors import ConfigError

Size = tuple[int, int, int]
"""(T, H, W)."""


class ConvNorm(nn.Module):
    """Convolution without bias, BN, and optionally ReLU.

    Args:
        kernel: Size in (T, H, W).
        stride: In (T, H, W).
        rectify: Whether a ReLU follows.
        same: Pad with `pad_same`, depending on the size of the input, instead of half the kernel on each side.
        norm: eps and momentum of the BN.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        *,
        kernel: Size = (1, 1, 1),
        stride: Size = (1, 1, 1),
        rectify: bool = True,
        same: bool = False,
        norm: tuple[float, float] = (1e-5, 0.1),
    ) -> None:
        super().__init__()
        padding = (0, 0, 0) if same else half(kernel)
        self.same = same
        self.rectify = rectify
        self.conv = nn.Conv3d(in_channels, out_channels, kernel, stride=stride, padding=padding, bias=False)
        self.norm = nn.BatchNorm3d(out_channels, *norm)

    def forward(self, features: Tensor) -> Tensor:
        """Map (B, C, T, H, W) to (B, out_channels, ...), each length divided by its stride and rounded up."""
        if self.same:
            features = pad_same(features, self.conv.kernel_size, self.conv.stride)
        features = self.norm(self.conv(features))
        return F.relu(features, inplace=True) if self.rectify else features


class MaxPoolSame(nn.Module):
    """Max pool with `pad_same`; zero padding is correct because inputs are not negative."""

    def __init__(self, kernel: Size, stride: Size) -> None:
        super().__init__()
        self.kernel = kernel
        self.stride = stride

    def forward(self, features: Tensor) -> Tensor:
        """Map (B, C, T, H, W), not negative, to (B, C, ...), each length divided by its stride and rounded up."""
        return F.max_pool3d(pad_same(features, self.kernel, self.stride), self.kernel, self.stride)


def pad_same(features: Tensor, kernel: tuple[int, ...], stride: tuple[int, ...]) -> Tensor:
    """Pad T, H and W with zeros like TensorFlow's SAME: as little as needed, the odd zero at the end."""
    amounts: list[int] = []
    for length, size, step in zip(features.shape[:1:-1], kernel[::-1], stride[::-1], strict=True):  # F.pad: last first
        total = max(size - (length % step or step), 0)
        amounts += [total // 2, total - total // 2]
    return F.pad(features, amounts) if any(amounts) else features


def average_pool(features: Tensor, kernel: Size) -> Tensor:
    """Average pool (B, C, T, H, W) without overlap; in float32 where PyTorch has no half-precision pool, on a CPU."""
    if features.device.type == "cpu" and features.dtype in (torch.bfloat16, torch.float16):
        return F.avg_pool3d(features.float(), kernel).to(features.dtype)
    return F.avg_pool3d(features, kernel)


def repeat_ends(features: Float[Tensor, "B C T H W"], repeats: tuple[int, int]) -> Float[Tensor, "B C t H W"]:
    """Repeat the first plane in time before the map, and the last one after it, the given numbers of times.

    Equals `F.pad` in mode "replicate", whose gradient PyTorch documents as nondeterministic on a GPU.
    """
    before, after = repeats
    if before == after == 0:
        return features
    return torch.cat([*[features[:, :, :1]] * before, features, *[features[:, :, -1:]] * after], dim=2)


def half(kernel: Size) -> Size:
    """The padding that keeps every length at stride 1, for odd kernels."""
    return kernel[0] // 2, kernel[1] // 2, kernel[2] // 2


def size_before_stride(needed: Size, stride: Size) -> Size:
    """Smallest input lengths for which a padded layer with odd kernel (rounds up) gives the needed ones."""
    time, height, width = ((length - 1) * step + 1 for length, step in zip(needed, stride, strict=True))
    return time, height, width


def size_before_pool(needed: Size, *, time_stride: int, keep_last_plane: bool = False) -> Size:
    """Smallest input lengths for which a `TransitionPool` (rounds down) gives the needed ones."""
    kept = keep_last_plane and needed[0] == 1
    return 1 if kept else needed[0] * time_stride, 2 * needed[1], 2 * needed[2]


def times(size: Sequence[int]) -> str:
    """Format a size, such as 16 x 112 x 112."""
    return " x ".join(str(length) for length in size)


def check_at_least_one(spec: object, *names: str) -> None:
    """Refuse counts and sizes below 1, single or in tuples.

    Raises:
        ConfigError: The first one that is.
    """
    for name in names:
        if min(_integers(spec, name), default=0) < 1:
            raise ConfigError(f"{name} {getattr(spec, name)} must be at least 1")


def check_odd(spec: object, *names: str) -> None:
    """Refuse kernels that are even or below 1.

    Raises:
        ConfigError: The first one that is.
    """
    check_at_least_one(spec, *names)
    for name in names:
        if any(size % 2 == 0 for size in _integers(spec, name)):
            raise ConfigError(f"{name} {getattr(spec, name)} must be odd")


def check_depths(ttl_depths: tuple[tuple[int, ...] | None, ...], num_blocks: int) -> None:
    """Refuse temporal depths that do not fit the number of stages.

    Raises:
        ConfigError: The number of entries is not that of transitions between stages, or a depth is below 1.
    """
    if len(ttl_depths) != num_blocks - 1:
        raise ConfigError(
            f"ttl_depths {ttl_depths} must have {num_blocks - 1} entries, one after each of the {num_blocks} stages "
            "but the last"
        )
    if any(depths is not None and min(depths, default=0) < 1 for depths in ttl_depths):
        raise ConfigError(f"ttl_depths {ttl_depths} must name depths of at least 1, or None")


def check_ranges(neck: int, dropout: float) -> None:
    """Refuse a negative width, and a dropout probability outside 0 to 1 (1 excluded).

    Raises:
        ConfigError: One of them is out of range.
    """
    if neck < 0:
        raise ConfigError(f"neck {neck} must be at least 0")
    if not 0 <= dropout < 1:
        raise ConfigError(f"dropout {dropout} must be at least 0 and below 1")


def _integers(spec: object, name: str) -> tuple[int, ...]:
    value = getattr(spec, name)
    return value if isinstance(value, tuple) else (value,)
