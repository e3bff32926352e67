"""C3D: plain convolutions of 3 x 3 x 3 with bias and without norms, and max pools."""

from collections import OrderedDict
from dataclasses import dataclass

from torch import nn

from t3d.errors import ConfigError
from t3d.models.heads import FullyConnected, GlobalMean
from t3d.models.insertion import same_width_transition
from t3d.models.layers import Size, check_at_least_one, check_depths, check_ranges, size_before_pool
from t3d.models.network import Trunk
from t3d.models.t3d import TransitionPool


@dataclass(frozen=True, kw_only=True)
class C3DSpec:
    """Every option of the C3D family.

    Raises:
        ConfigError: When a value is out of range or two contradict each other.

    Source: Tran et al. 2015, arXiv:1412.0767, section 3.
    """

    widths: tuple[tuple[int, ...], ...] = ((64,), (128,), (256, 256), (512, 512), (512, 512))
    """Channels of every convolution; the first group is the stem. A pool that halves the map follows each group."""
    in_channels: int = 3
    """Channels of a clip."""
    head: str = "fc"
    """`fc`: a pool and two linear layers, as published, for clips of 16 x 112 x 112; or the `mean` of the last map."""
    fc_width: int = 4096
    """Width of both linear layers."""
    ttl_depths: tuple[tuple[int, ...] | None, ...] = (None, None, None)
    """Depths of the temporal transition in the place of the max pool before each stage but the first; None keeps the
    pool. The paper does not mention C3D with transitions."""
    keep_last_plane: bool = False
    """Stop dividing time once too few planes are left for it, so that short clips work."""
    flat: bool = False
    """Every kernel, stride and pool is 1 in time (the 2D twin)."""
    neck: int = 0
    """Width of a linear layer and ReLU between features and classifier; 0 is none."""
    dropout: float = 0.5
    """Probability of dropping one of the values each linear layer sees."""

    def __post_init__(self) -> None:
        check_at_least_one(self, "in_channels", "fc_width")
        if len(self.widths) < 2 or any(min(group, default=0) < 1 for group in self.widths):
            raise ConfigError(f"widths {self.widths} must hold two groups or more, of channels of at least 1")
        check_depths(self.ttl_depths, len(self.widths) - 1)
        check_ranges(self.neck, self.dropout)
        if self.head not in ("fc", "mean"):
            raise ConfigError(f"head {self.head!r} must be fc or mean")
        if self.flat and self.head == "fc":
            raise ConfigError("flat needs the head mean: the published one joins 16 frames; give --head mean")

    @property
    def minimum_size(self) -> Size:
        """Smallest clip (T, H, W) that is large enough for the head."""
        needed: Size = FullyConnected.SMALLEST if self.head == "fc" else (1, 1, 1)
        for _ in self.ttl_depths:
            needed = size_before_pool(needed, time_stride=self.time_stride, keep_last_plane=self.keep_last_plane)
        return size_before_pool(needed, time_stride=1)

    @property
    def time_stride(self) -> int:
        """Factor by which each stage but the first divides time."""
        return 1 if self.flat else 2

    def twin(self) -> dict[str, object]:
        """Overrides of the 2D twin."""
        return {"flat": True, "head": "mean"}

    def build(self) -> Trunk:
        """Build the layers up to the features."""
        return c3d(self)


def c3d(spec: C3DSpec) -> Trunk:
    """Build the layers of a C3D.

    Source: Tran et al. 2015, arXiv:1412.0767, section 3.
    """
    first, *groups = spec.widths
    stem = nn.Sequential(_convolutions(spec.in_channels, first, spec), TransitionPool(time_stride=1, maximum=True))
    stages: OrderedDict[str, nn.Module] = OrderedDict()
    channels = first[-1]
    for number, (widths, depths) in enumerate(zip(groups, (None, *spec.ttl_depths), strict=True), start=1):
        if number > 1:
            stages[f"transition{number - 1}"] = _transition(channels, depths, spec)
        stages[f"block{number}"] = _convolutions(channels, widths, spec)
        channels = widths[-1]
    head: nn.Module = GlobalMean()
    if spec.head == "fc":
        head = FullyConnected(channels, width=spec.fc_width, dropout=spec.dropout)
        channels = spec.fc_width
    return Trunk(stem=stem, stages=nn.Sequential(stages), num_features=channels, head=head, dropout=spec.dropout)


def _convolutions(channels: int, widths: tuple[int, ...], spec: C3DSpec) -> nn.Sequential:
    """Convolutions in sequence, each followed by ReLU."""
    layers: OrderedDict[str, nn.Module] = OrderedDict()
    kernel, padding = ((1, 3, 3), (0, 1, 1)) if spec.flat else ((3, 3, 3), (1, 1, 1))
    for number, width in enumerate(widths, start=1):
        layers[f"conv{number}"] = nn.Conv3d(channels, width, kernel, padding=padding)
        layers[f"relu{number}"] = nn.ReLU(inplace=True)
        channels = width
    return nn.Sequential(layers)


def _transition(channels: int, depths: tuple[int, ...] | None, spec: C3DSpec) -> nn.Module:
    pool = TransitionPool(time_stride=spec.time_stride, keep_last_plane=spec.keep_last_plane, maximum=depths is None)
    if depths is None:
        return pool
    return same_width_transition(channels, depths=depths, flat=spec.flat, pool=pool)
