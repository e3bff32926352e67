"""T3D and DenseNet3D in the order of Table 1. Kernels and strides are (T, H, W), maps are (B, C, T, H, W).

| stage         | 3 x 32 x 224 x 224 becomes | DenseNet3D-121                              | T3D-121 (T3D-169)     |
|---------------|----------------------------|---------------------------------------------|-----------------------|
| stem conv     | 64 x 16 x 112 x 112        | conv 3x7x7, stride 2                        | the same              |
| stem pool     | 64 x 16 x 56 x 56          | max pool 3, stride (1, 2, 2)                | the same              |
| block1        | 256 x 16 x 56 x 56         | [1x1x1 conv, 3x3x3 conv] x 6                | the same              |
| transition1   | 8 x 28 x 28                | 1x1x1 conv, average pool 2                  | TTL 1, 3, 6           |
| block2        | 8 x 28 x 28                | x 12                                        | the same              |
| transition2   | 4 x 14 x 14                | as above                                    | TTL 1, 3, 4           |
| block3        | 4 x 14 x 14                | x 24                                        | x 24 (x 32)           |
| transition3   | 2 x 7 x 7                  | as above                                    | TTL 1, 3, 4           |
| block4        | 2 x 7 x 7                  | x 16                                        | x 16 (x 32)           |
| head          | 1                          | BN, ReLU, average, linear (`Network`)       | the same              |

T3D-121 is `DenseNetSpec(ttl_depths=((1, 3, 6), (1, 3, 4), (1, 3, 4)))`; each TTL gives 3 x 128 channels.
Source: Diba et al. 2017, arXiv:1711.08200, Table 1, Fig. 1, numbers of channels by their code; arXiv:1608.06993.
"""

from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from t3d.errors import ConfigError
from t3d.models.layers import Size, average_pool, half, repeat_ends, size_before_pool, size_before_stride

from t3d.models.layers import check_at_least_one, check_depths, check_odd, check_ranges  # isort: skip
from t3d.models.network import Trunk
from t3d.tensors import FeatureMap


@dataclass(frozen=True, kw_only=True)
class DenseNetSpec:
    """Every option of the DenseNet family; sizes are (T, H, W).

    Raises:
        ConfigError: When a value is out of range or two contradict each other.
    """

    blocks: tuple[int, ...] = (6, 12, 24, 16)
    """Layers of each dense block."""
    growth_rate: int = 32
    """Channels each dense layer adds."""
    bottleneck: int = 4
    """Channels between the two convolutions of a dense layer, in growth rates."""
    in_channels: int = 3
    """Channels of a clip."""
    stem_channels: int = 64
    """Channels of the first convolution."""
    stem_kernel: Size = (3, 7, 7)
    """Kernel of the first convolution, odd."""
    stem_stride: Size = (2, 2, 2)
    """Its stride."""
    stem_pool_kernel: Size = (3, 3, 3)
    """Kernel of the max pool after it, odd."""
    stem_pool_stride: Size = (1, 2, 2)
    """Its stride; the authors' code halves time here too, Table 1 does not."""
    dense_time_kernel: int = 3
    """Temporal size of the second convolution of a dense layer, odd."""
    ttl_depths: tuple[tuple[int, ...] | None, ...] = (None, None, None)
    """Depths of the temporal transition after each block but the last; None is a DenseNet transition."""
    ttl_width: int = 128
    """Channels of each branch of a temporal transition."""
    ttl_compress: bool = False
    """A 1x1x1 convolution after the concatenation of the branches."""
    ttl_flat: bool = False
    """Kernels of all branches are 1 in time and keep height and width (the 2D twin of a T3D)."""
    transition_time_stride: int = 2
    """Factor by which each transition divides time."""
    keep_last_plane: bool = False
    """Stop dividing time once too few planes are left for it, so that short clips work."""
    replicate_time: bool = False
    """Pad convolutions in time by repeating the first and last frame instead of zeros."""
    neck: int = 0
    """Width of a linear layer and ReLU between features and classifier; 0 is none."""
    dropout: float = 0.0
    """Probability of dropping one of the values a dense layer adds."""

    def __post_init__(self) -> None:
        check_at_least_one(self, "blocks", "growth_rate", "bottleneck", "in_channels", "stem_channels", "stem_stride")
        check_at_least_one(self, "stem_pool_stride", "ttl_width", "transition_time_stride")
        check_odd(self, "stem_kernel", "stem_pool_kernel", "dense_time_kernel")
        check_depths(self.ttl_depths, len(self.blocks))
        check_ranges(self.neck, self.dropout)

    @property
    def minimum_size(self) -> Size:
        """Smallest clip (T, H, W) that leaves one position after the last transition."""
        needed, stride = (1, 1, 1), self.transition_time_stride
        for _ in self.blocks[1:]:
            needed = size_before_pool(needed, time_stride=stride, keep_last_plane=self.keep_last_plane)
        return size_before_stride(size_before_stride(needed, self.stem_pool_stride), self.stem_stride)

    def twin(self) -> dict[str, object]:
        """Overrides of the 2D twin: every kernel, stride and pool 1 in time."""
        sizes = ("stem_kernel", "stem_stride", "stem_pool_kernel", "stem_pool_stride")
        flat = {size: (1, *getattr(self, size)[1:]) for size in sizes}
        return {**flat, "dense_time_kernel": 1, "transition_time_stride": 1, "ttl_flat": True}

    def build(self) -> Trunk:
        """Build stem and dense blocks with transitions between them; `Network` adds head and classifier."""
        stages: OrderedDict[str, nn.Module] = OrderedDict()
        channels = self.stem_channels
        for number, (num_layers, depths) in enumerate(zip(self.blocks, (*self.ttl_depths, None), strict=True), start=1):
            stages[f"block{number}"] = DenseBlock(channels, num_layers, self)
            channels += num_layers * self.growth_rate
            if number < len(self.blocks):
                transition = self._transition(channels, depths)
                stages[f"transition{number}"] = transition
                channels = transition.out_channels
        stem, norm = Stem(self), nn.BatchNorm3d(channels)
        return Trunk(stem=stem, stages=nn.Sequential(stages), num_features=channels, norm=norm)

    def _transition(self, in_channels: int, depths: tuple[int, ...] | None) -> "TemporalTransition | DenseTransition":
        pool = TransitionPool(time_stride=self.transition_time_stride, keep_last_plane=self.keep_last_plane)
        if depths is None:
            return DenseTransition(in_channels, pool=pool)
        return TemporalTransition(
            in_channels,
            depths=depths,
            width=self.ttl_width,
            compress=self.ttl_compress,
            flat=self.ttl_flat,
            replicate_time=self.replicate_time,
            pool=pool,
        )


class Stem(nn.Module):
    """Convolution, BN, ReLU and max pool on pixels."""

    def __init__(self, spec: DenseNetSpec) -> None:
        super().__init__()
        kernel, pool = spec.stem_kernel, spec.stem_pool_kernel
        planes, rows, columns = half(kernel)
        self.repeats = (planes, planes) if spec.replicate_time else (0, 0)
        padding = (0 if spec.replicate_time else planes, rows, columns)
        self.conv = nn.Conv3d(
            spec.in_channels, spec.stem_channels, kernel, stride=spec.stem_stride, padding=padding, bias=False
        )
        self.norm = nn.BatchNorm3d(spec.stem_channels)
        self.pool = nn.MaxPool3d(pool, stride=spec.stem_pool_stride, padding=half(pool))

    def forward(self, clips: Tensor) -> Tensor:
        """Map (B, C, T, H, W) to (B, stem_channels, T / 2, H / 4, W / 4), by the strides of Table 1."""
        return self.pool(F.relu(self.norm(self.conv(repeat_ends(clips, self.repeats)))))


class NormReluConv(nn.Module):
    """BN, ReLU, then a convolution of stride 1 without bias that keeps T, H and W: every "conv" after the stem.

    An even kernel in time is padded with (d - 1) // 2 zeros before and d // 2 after. No source states the side; it is
    this project's decision.

    Args:
        kernel: Size in (T, H, W); H and W odd.
        replicate_time: Pad in time by repeating the first and last plane instead of zeros.
    """

    def __init__(
        self, in_channels: int, out_channels: int, *, kernel: Size = (1, 1, 1), replicate_time: bool = False
    ) -> None:
        super().__init__()
        depth, height, width = kernel
        before, after = (depth - 1) // 2, depth // 2
        self.repeats = (before, after) if replicate_time else (0, 0)
        self.extra_planes = 0 if replicate_time else after - before
        padding = (0 if replicate_time else before, height // 2, width // 2)
        self.norm = nn.BatchNorm3d(in_channels)
        self.conv = nn.Conv3d(in_channels, out_channels, kernel, bias=False, padding=padding)

    def forward(self, features: Tensor) -> Tensor:
        """Map (B, C, T, H, W) to (B, out_channels, T, H, W)."""
        features = F.relu(self.norm(features))
        if self.extra_planes:
            features = F.pad(features, (0, 0, 0, 0, 0, self.extra_planes))
        return self.conv(repeat_ends(features, self.repeats))


class DenseLayer(nn.Module):
    """A 1x1x1 and a 3x3x3 convolution; the output is concatenated to the input."""

    def __init__(self, in_channels: int, spec: DenseNetSpec) -> None:
        super().__init__()
        width, kernel = spec.bottleneck * spec.growth_rate, (spec.dense_time_kernel, 3, 3)
        self.squeeze = NormReluConv(in_channels, width)
        self.grow = NormReluConv(width, spec.growth_rate, kernel=kernel, replicate_time=spec.replicate_time)
        self.dropout = nn.Dropout(spec.dropout)

    def forward(self, features: Tensor) -> Tensor:
        """Map (B, C, T, H, W) to (B, C + growth_rate, T, H, W)."""
        return torch.cat([features, self.dropout(self.grow(self.squeeze(features)))], dim=1)


class DenseBlock(nn.Sequential):
    """Dense layers one after the other, named `layer1`, `layer2`, ...: (B, C + num_layers * growth_rate, T, H, W)."""

    def __init__(self, in_channels: int, num_layers: int, spec: DenseNetSpec) -> None:
        layers = (DenseLayer(in_channels + index * spec.growth_rate, spec) for index in range(num_layers))
        super().__init__(OrderedDict((f"layer{number}", layer) for number, layer in enumerate(layers, start=1)))


class TransitionPool(nn.Module):
    """Pool of 2 in H and W and `time_stride` in T; an odd last plane, row or column is dropped.

    Args:
        time_stride: 2 halves time, 1 keeps it.
        keep_last_plane: Keep time if fewer planes than `time_stride` are left, instead of failing.
        maximum: Max pool instead of average pool.
    """

    def __init__(self, *, time_stride: int = 2, keep_last_plane: bool = False, maximum: bool = False) -> None:
        super().__init__()
        self.time_stride = time_stride
        self.keep_last_plane = keep_last_plane
        self.maximum = maximum

    def forward(self, features: Tensor) -> Tensor:
        """Map (B, C, T, H, W) to (B, C, T // time_stride, H // 2, W // 2)."""
        kernel = self.kernel_size(features)
        return F.max_pool3d(features, kernel) if self.maximum else average_pool(features, kernel)

    def kernel_size(self, features: Tensor) -> Size:
        """Kernel and stride of the pool for this map, in (T, H, W)."""
        too_few = features.shape[2] < self.time_stride
        return 1 if self.keep_last_plane and too_few else self.time_stride, 2, 2


class TemporalTransition(nn.Module):
    """Temporal transition layer (TTL): parallel convolutions of several temporal depths, then a pool of 2 x 2 x 2.

    Args:
        in_channels: Channels of the stage before.
        depths: Temporal kernel size of each branch; depth 1 is a 1x1x1 kernel, depth d a d x 3 x 3 one (T, H, W).
        width: Channels of each branch; one number for all, or one for each.
        compress: Follow the concatenation by BN, ReLU and a 1x1x1 convolution of equal width, as in the authors'
            deleted code; Table 1 and Fig. 1 have none.
        flat: Kernels of all branches are 1 in time and keep height and width (the 2D twin).
        replicate_time: Pad in time by repeating the first and last plane instead of zeros.
        pool: Replaces the average pool of 2 x 2 x 2.

    Raises:
        ConfigError: There is no depth, or one below 1.
    """

    def __init__(
        self,
        in_channels: int,
        *,
        depths: Sequence[int] = (1, 3, 4),
        width: int | Sequence[int] = 128,
        compress: bool = False,
        flat: bool = False,
        replicate_time: bool = False,
        pool: nn.Module | None = None,
    ) -> None:
        super().__init__()
        if min(depths, default=0) < 1:
            raise ConfigError(f"depths {tuple(depths)} must name frames, each at least 1")
        kernels: list[Size] = [(1, 1, 1) if depth == 1 else (1 if flat else depth, 3, 3) for depth in depths]
        widths = [width] * len(depths) if isinstance(width, int) else list(width)
        self.out_channels = sum(widths)
        self.branches = nn.ModuleList(
            NormReluConv(in_channels, channels, kernel=kernel, replicate_time=replicate_time)
            for kernel, channels in zip(kernels, widths, strict=True)
        )
        self.compress = NormReluConv(self.out_channels, self.out_channels) if compress else nn.Identity()
        self.pool = TransitionPool() if pool is None else pool

    def forward(self, features: Float[Tensor, "B C T H W"]) -> FeatureMap:
        """Map (B, C, T, H, W) to (B, out_channels, T // 2, H // 2, W // 2)."""
        seen = torch.cat([branch(features) for branch in self.branches], dim=1)  # (B, out_channels, T, H, W)
        return self.pool(self.compress(seen))


class DenseTransition(nn.Module):
    """DenseNet transition: a 1x1x1 convolution to half of the channels, then a pool of 2 x 2 x 2."""

    def __init__(self, in_channels: int, *, pool: nn.Module) -> None:
        super().__init__()
        self.out_channels = in_channels // 2
        self.compress = NormReluConv(in_channels, self.out_channels)
        self.pool = pool

    def forward(self, features: Float[Tensor, "B C T H W"]) -> FeatureMap:
        """Map (B, C, T, H, W) to (B, C // 2, T // 2, H // 2, W // 2)."""
        return self.pool(self.compress(features))
