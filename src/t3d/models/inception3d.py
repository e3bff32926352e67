"""Inception3D and I3D: Inception-v1 with batch norm and every layer made 3D."""

from collections import OrderedDict
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from t3d.errors import ConfigError
from t3d.models.heads import GlobalMean, SlidingMean
from t3d.models.insertion import same_width_transition
from t3d.models.layers import (
    ConvNorm,
    MaxPoolSame,
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

Widths = tuple[int, int, int, int, int, int]
"""Channels of one mixed module: 1x1x1; 1x1x1, 3x3x3; 1x1x1, wide; after the pool."""

V1_STAGES: tuple[tuple[Widths, ...], ...] = (
    ((64, 96, 128, 16, 32, 32), (128, 128, 192, 32, 96, 64)),
    (
        (192, 96, 208, 16, 48, 64),
        (160, 112, 224, 24, 64, 64),
        (128, 128, 256, 24, 64, 64),
        (112, 144, 288, 32, 64, 64),
        (256, 160, 320, 32, 128, 128),
    ),
    ((256, 160, 320, 32, 128, 128), (384, 192, 384, 48, 128, 128)),
)
"""Szegedy et al. 2015, arXiv:1409.4842, Table 1."""


@dataclass(frozen=True, kw_only=True)
class InceptionSpec:
    """Every option of the Inception family; sizes are (T, H, W).

    The defaults are Inception3D: Inception-v1 with batch norm and every k x k made k x k x k, including pools and
    strides. This is the project's interpretation: the paper only names the network.

    Raises:
        ConfigError: When a value is out of range or two contradict each other.

    Source: Szegedy et al. 2015, arXiv:1409.4842, Table 1; Ioffe and Szegedy 2015, arXiv:1502.03167.
    """

    entry: tuple[int, int, int] = (64, 64, 192)
    """Channels of the three convolutions before the first mixed module."""
    mixed: tuple[tuple[Widths, ...], ...] = V1_STAGES
    """Six widths of every module of every stage: 1x1x1; 1x1x1, 3x3x3; 1x1x1, wide; after the pool."""
    wide_kernel: int = 5
    """Edge of the third branch's kernel, odd; I3D has 3."""
    in_channels: int = 3
    """Channels of a clip."""
    stem_kernel: Size = (7, 7, 7)
    """Kernel of the first convolution, odd."""
    stem_stride: Size = (2, 2, 2)
    """Its stride."""
    pool_kernels: tuple[Size, ...] = ((3, 3, 3), (3, 3, 3), (3, 3, 3), (3, 3, 3))
    """Of the max pool in the stem, and of the one before each stage of mixed modules."""
    pool_strides: tuple[Size, ...] = ((2, 2, 2), (2, 2, 2), (2, 2, 2), (2, 2, 2))
    """Their strides."""
    same: bool = False
    """Pad by the clip's size as TensorFlow does, the odd zero behind; needed for even pools."""
    norm_eps: float = 1e-5
    """Added to the variance by every norm."""
    norm_momentum: float = 0.1
    """Weight of a new batch in the running statistics."""
    head: str = "mean"
    """`mean` of the whole map, or `sliding`: the published I3D, made for 193 to 224 pixels."""
    ttl_depths: tuple[tuple[int, ...] | None, ...] = (None, None, None)
    """Depths of the temporal transition that replaces the max pool before each stage; None keeps the pool. The paper
    does not state the position: it is this project's decision."""
    keep_last_plane: bool = False
    """Temporal transitions stop dividing time once too few planes are left for it, so that short clips work."""
    flat: bool = False
    """Every kernel, stride and pool is 1 in time (the 2D twin)."""
    neck: int = 0
    """Width of a linear layer and ReLU between features and classifier; 0 is none."""
    dropout: float = 0.0
    """Probability of dropping one of the values the classifier sees."""

    def __post_init__(self) -> None:
        check_at_least_one(self, "entry", "in_channels", "stem_stride")
        check_odd(self, "wide_kernel", "stem_kernel")
        check_depths(self.ttl_depths, len(self.mixed) + 1)
        check_ranges(self.neck, self.dropout)
        for name, sizes in {"pool_kernels": self.pool_kernels, "pool_strides": self.pool_strides}.items():
            if len(sizes) != len(self.mixed) + 1 or min(map(min, sizes)) < 1:
                raise ConfigError(f"{name} {sizes} must hold {len(self.mixed) + 1} sizes of at least 1")
        if any(min(map(min, stage), default=0) < 1 for stage in self.mixed):
            raise ConfigError(f"mixed {self.mixed} must hold widths of at least 1")
        if any(size % 2 == 0 for kernel in self.pool_kernels for size in kernel) and not self.same:
            raise ConfigError(f"pool_kernels {self.pool_kernels} must be odd, unless `same` pads them")
        if self.norm_eps <= 0 or not 0 < self.norm_momentum <= 1:
            raise ConfigError(f"norm_eps {self.norm_eps} must be above 0, norm_momentum {self.norm_momentum} up to 1")
        if self.head not in ("mean", "sliding"):
            raise ConfigError(f"head {self.head!r} must be mean or sliding")

    @property
    def minimum_size(self) -> Size:
        """Smallest clip (T, H, W) for the head: pools round up, transitions round down."""
        needed: Size = SlidingMean.WINDOW if self.head == "sliding" else (1, 1, 1)
        for depths, stride in zip(reversed(self.ttl_depths), self.pool_strides[:0:-1], strict=True):
            if depths is None:
                needed = size_before_stride(needed, self.sized(stride))
            else:
                needed = size_before_pool(
                    needed, time_stride=self.sized(stride)[0], keep_last_plane=self.keep_last_plane
                )
        for stride in (self.pool_strides[0], self.stem_stride):
            needed = size_before_stride(needed, self.sized(stride))
        return needed

    def twin(self) -> dict[str, object]:
        """Overrides of the 2D twin; the published head would need two frames."""
        return {"flat": True, "head": "mean"}

    def build(self) -> Trunk:
        """Build the layers up to the features."""
        return inception3d(self)

    def sized(self, size: Size) -> Size:
        """A kernel or stride, 1 in time in a flat network."""
        return (1, *size[1:]) if self.flat else size


def inception3d(spec: InceptionSpec) -> Trunk:
    """Build the layers of an Inception3D or I3D.

    Source: Szegedy et al. 2015, arXiv:1409.4842, Table 1; I3D: Carreira and Zisserman 2017, arXiv:1705.07750, Fig. 3.
    """
    first, second, channels = spec.entry
    stem = nn.Sequential(
        _conv(spec.in_channels, first, spec.stem_kernel, spec, stride=spec.stem_stride),
        _max_pool(spec.pool_kernels[0], spec.pool_strides[0], spec),
    )
    entry = nn.Sequential(_conv(first, second, (1, 1, 1), spec), _conv(second, channels, (3, 3, 3), spec))
    stages: OrderedDict[str, nn.Module] = OrderedDict(block1=entry)
    for number, modules in enumerate(spec.mixed, start=1):
        stages[f"transition{number}"] = _transition(channels, number, spec)
        layers = []
        for widths in modules:
            layers.append(Mixed(channels, widths, spec))
            channels = layers[-1].out_channels
        stages[f"block{number + 1}"] = nn.Sequential(*layers)
    head = GlobalMean() if spec.head == "mean" else SlidingMean()
    return Trunk(stem=stem, stages=nn.Sequential(stages), num_features=channels, head=head, dropout=spec.dropout)


class Mixed(nn.Module):
    """Mixed module: four parallel branches, concatenated."""

    def __init__(self, in_channels: int, widths: Widths, spec: InceptionSpec) -> None:
        super().__init__()
        point, wide = (1, 1, 1), (spec.wide_kernel,) * 3
        narrow, before_3, after_3, before_wide, after_wide, behind_pool = widths
        self.out_channels = narrow + after_3 + after_wide + behind_pool
        self.point = _conv(in_channels, narrow, point, spec)
        self.three = nn.Sequential(_conv(in_channels, before_3, point, spec), _conv(before_3, after_3, (3, 3, 3), spec))
        self.wide = nn.Sequential(
            _conv(in_channels, before_wide, point, spec), _conv(before_wide, after_wide, wide, spec)
        )
        self.pooled = nn.Sequential(_max_pool((3, 3, 3), (1, 1, 1), spec), _conv(in_channels, behind_pool, point, spec))

    def forward(self, features: Tensor) -> Tensor:
        """Map (B, C, T, H, W) to (B, out_channels, T, H, W)."""
        branches = (self.point, self.three, self.wide, self.pooled)
        return torch.cat([branch(features) for branch in branches], dim=1)


def _transition(channels: int, number: int, spec: InceptionSpec) -> nn.Module:
    kernel, stride, depths = spec.pool_kernels[number], spec.pool_strides[number], spec.ttl_depths[number - 1]
    if depths is None:
        return _max_pool(kernel, stride, spec)
    pool = TransitionPool(time_stride=spec.sized(stride)[0], keep_last_plane=spec.keep_last_plane)
    return same_width_transition(channels, depths=depths, flat=spec.flat, pool=pool)


def _conv(
    in_channels: int, out_channels: int, kernel: Size, spec: InceptionSpec, *, stride: Size = (1, 1, 1)
) -> ConvNorm:
    return ConvNorm(
        in_channels,
        out_channels,
        kernel=spec.sized(kernel),
        stride=spec.sized(stride),
        same=spec.same,
        norm=(spec.norm_eps, spec.norm_momentum),
    )


def _max_pool(kernel: Size, stride: Size, spec: InceptionSpec) -> nn.Module:
    kernel, stride = spec.sized(kernel), spec.sized(stride)
    if spec.same:
        return MaxPoolSame(kernel, stride)
    return nn.MaxPool3d(kernel, stride=stride, padding=half(kernel))
