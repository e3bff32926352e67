"""ResNet3D: residual networks with every layer made 3D, with or without temporal transitions."""

from collections import OrderedDict
from dataclasses import dataclass

import torch.nn.functional as F
from torch import Tensor, nn

from t3d.models.insertion import same_width_transition
from t3d.models.layers import (
    ConvNorm,
    Size,
    check_at_least_one,
    check_depths,
    check_odd,
    check_ranges,
    half,
    size_before_pool,
    size_before_stride,
)
from t3d.models.network import Trunk
from t3d.models.t3d import TransitionPool


@dataclass(frozen=True, kw_only=True)
class ResNetSpec:
    """Every option of the ResNet family; sizes are (T, H, W).

    Raises:
        ConfigError: When a value is out of range or two contradict each other.

    Source: Hara et al. 2018, arXiv:1711.09577, Table 1, with shortcuts of type B (a 1x1x1 convolution); type A of
    their first release (zeros for the new channels, no parameters) is not supported.
    """

    blocks: tuple[int, ...] = (3, 4, 6, 3)
    """Residual blocks of each stage."""
    bottleneck: bool = False
    """Blocks of 1x1x1, 3x3x3 and 1x1x1 convolutions, with four times the output width, instead of two of 3x3x3."""
    width: int = 64
    """Channels of the first stage; each further stage has twice as many."""
    in_channels: int = 3
    """Channels of a clip."""
    stem_kernel: Size = (7, 7, 7)
    """Kernel of the first convolution, odd."""
    stem_stride: Size = (1, 2, 2)
    """Its stride."""
    stem_pool_stride: Size | None = (2, 2, 2)
    """Stride of the max pool of 3x3x3 after it; None leaves the pool out."""
    time_kernel: int = 3
    """Temporal size of the 3x3x3 convolutions, odd."""
    time_stride: int = 2
    """Factor by which every stage but the first divides time."""
    ttl_depths: tuple[tuple[int, ...] | None, ...] = (None, None, None)
    """Depths of the temporal transition that halves the map before each stage but the first; None leaves that to the
    stage's first block. The paper does not state the position: it is this project's decision."""
    ttl_flat: bool = False
    """Kernels of all branches are 1 in time and keep height and width (the 2D twin)."""
    keep_last_plane: bool = False
    """Temporal transitions stop dividing time once too few planes are left for it, so that short clips work."""
    neck: int = 0
    """Width of a linear layer and ReLU between features and classifier; 0 is none."""
    dropout: float = 0.0
    """Probability of dropping one of the values the classifier sees."""

    def __post_init__(self) -> None:
        counts = ("blocks", "width", "in_channels", "stem_stride", "time_stride")
        check_at_least_one(self, *counts, *(["stem_pool_stride"] if self.stem_pool_stride else []))
        check_odd(self, "stem_kernel", "time_kernel")
        check_depths(self.ttl_depths, len(self.blocks))
        check_ranges(self.neck, self.dropout)

    @property
    def minimum_size(self) -> Size:
        """Smallest clip (T, H, W) that leaves one position: strided convolutions round up, transitions round down."""
        needed: Size = (1, 1, 1)
        for depths in reversed(self.ttl_depths):
            if depths is None:
                needed = size_before_stride(needed, (self.time_stride, 2, 2))
            else:
                needed = size_before_pool(needed, time_stride=self.time_stride, keep_last_plane=self.keep_last_plane)
        for stride in (self.stem_pool_stride, self.stem_stride):
            needed = needed if stride is None else size_before_stride(needed, stride)
        return needed

    def twin(self) -> dict[str, object]:
        """Overrides of the 2D twin."""
        pool = None if self.stem_pool_stride is None else (1, *self.stem_pool_stride[1:])
        stem = {"stem_kernel": (1, *self.stem_kernel[1:]), "stem_stride": (1, *self.stem_stride[1:])}
        return {**stem, "stem_pool_stride": pool, "time_kernel": 1, "time_stride": 1, "ttl_flat": True}

    def build(self) -> Trunk:
        """Build the layers up to the features."""
        return resnet3d(self)


def resnet3d(spec: ResNetSpec) -> Trunk:
    """Build the layers of a ResNet3D.

    Source: Hara et al. 2018, arXiv:1711.09577, Table 1.
    """
    stages: OrderedDict[str, nn.Module] = OrderedDict()
    channels, growth = spec.width, 4 if spec.bottleneck else 1
    for number, num_blocks in enumerate(spec.blocks, start=1):
        depths = spec.ttl_depths[number - 2] if number > 1 else None
        stride = (1, 1, 1) if number == 1 or depths else (spec.time_stride, 2, 2)
        if depths:
            pool = TransitionPool(time_stride=spec.time_stride, keep_last_plane=spec.keep_last_plane)
            transition = same_width_transition(channels, depths=depths, flat=spec.ttl_flat, pool=pool)
            stages[f"transition{number - 1}"] = transition
        width = spec.width * 2 ** (number - 1)
        stages[f"block{number}"] = _stage(channels, width, num_blocks, stride, spec)
        channels = width * growth
    return Trunk(stem=_stem(spec), stages=nn.Sequential(stages), num_features=channels, dropout=spec.dropout)


class ResidualBlock(nn.Module):
    """Residual block: two or three convolutions, whose output is added to the input.

    If size or number of channels change, the shortcut is a 1x1x1 convolution (type B).

    Source: He et al. 2016, arXiv:1512.03385, section 3.3; in the bottleneck the 3x3x3 convolution has the stride.
    """

    def __init__(self, in_channels: int, width: int, *, stride: Size, bottleneck: bool, time_kernel: int) -> None:
        super().__init__()
        kernel = (time_kernel, 3, 3)
        if bottleneck:
            self.out_channels = 4 * width
            layers = [
                ConvNorm(in_channels, width),
                ConvNorm(width, width, kernel=kernel, stride=stride),
                ConvNorm(width, self.out_channels, rectify=False),
            ]
        else:
            self.out_channels = width
            layers = [
                ConvNorm(in_channels, width, kernel=kernel, stride=stride),
                ConvNorm(width, width, kernel=kernel, rectify=False),
            ]
        self.layers = nn.Sequential(*layers)
        same = stride == (1, 1, 1) and in_channels == self.out_channels
        self.shortcut = (
            nn.Identity() if same else ConvNorm(in_channels, self.out_channels, stride=stride, rectify=False)
        )

    def forward(self, features: Tensor) -> Tensor:
        """Map (B, C, T, H, W) to (B, out_channels, ...), each length divided by its stride and rounded up."""
        return F.relu(self.layers(features) + self.shortcut(features))


def _stem(spec: ResNetSpec) -> nn.Sequential:
    conv = ConvNorm(spec.in_channels, spec.width, kernel=spec.stem_kernel, stride=spec.stem_stride)
    if spec.stem_pool_stride is None:
        return nn.Sequential(conv)
    kernel = (min(spec.time_kernel, 3), 3, 3)
    return nn.Sequential(conv, nn.MaxPool3d(kernel, stride=spec.stem_pool_stride, padding=half(kernel)))


def _stage(in_channels: int, width: int, num_blocks: int, stride: Size, spec: ResNetSpec) -> nn.Sequential:
    blocks: list[ResidualBlock] = []
    for _ in range(num_blocks):
        block = ResidualBlock(
            in_channels, width, stride=stride, bottleneck=spec.bottleneck, time_kernel=spec.time_kernel
        )
        blocks.append(block)
        in_channels, stride = block.out_channels, (1, 1, 1)
    return nn.Sequential(*blocks)
