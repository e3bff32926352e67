"""The literals that describe one DenseNet3D or T3D, checked; values only, no layers."""

from dataclasses import dataclass

from t3d.models.checks import at_least_one, check_depths, check_ranges, odd
from t3d.models.sizes import Size, halved, rounded_up


@dataclass(frozen=True, kw_only=True)
class DenseNetSpec:
    """Every option of the DenseNet family; sizes are (T, H, W).

    Raises:
        ConfigError: When a literal is out of range or two contradict each other.

    Source: Diba et al. 2017, arXiv:1711.08200, Table 1; growth, bottleneck and stem channels from the authors' code.
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
    """Frames the second convolution of a dense layer looks at, odd."""
    ttl_depths: tuple[tuple[int, ...] | None, ...] = (None, None, None)
    """Depths of the temporal transition after each block but the last; None is DenseNet's own transition."""
    ttl_width: int = 128
    """Channels of each branch of a temporal transition."""
    ttl_compress: bool = False
    """A 1x1x1 convolution after the concatenation of the branches."""
    ttl_flat: bool = False
    """Branches look at one frame, whatever their depth; their height and width stay (the 2D twin of a T3D)."""
    transition_time_stride: int = 2
    """What each transition divides time by."""
    keep_last_plane: bool = False
    """Stop dividing time once too few planes are left for it, so that short clips work."""
    replicate_time: bool = False
    """Beyond the first and last frame of a map, convolutions see that frame again instead of zeros."""
    neck: int = 0
    """Width of a linear layer and ReLU between features and classifier; 0 is none."""
    dropout: float = 0.0
    """Probability of dropping one of the values a dense layer adds."""

    def __post_init__(self) -> None:
        at_least_one(self, *_AT_LEAST_ONE)
        odd(self, *_ODD)
        check_depths(self.ttl_depths, len(self.blocks))
        check_ranges(self.neck, self.dropout)

    @property
    def minimum_size(self) -> Size:
        """Smallest clip (T, H, W) that leaves one position after the last transition."""
        needed: Size = (1, 1, 1)
        for _ in self.blocks[1:]:
            needed = halved(needed, time_stride=self.transition_time_stride, keep_last_plane=self.keep_last_plane)
        for stride in (self.stem_pool_stride, self.stem_stride):
            needed = rounded_up(needed, stride)
        return needed

    def twin(self) -> dict[str, object]:
        """Literals of the 2D twin: every kernel, stride and pool 1 in time."""
        sizes = ("stem_kernel", "stem_stride", "stem_pool_kernel", "stem_pool_stride")
        flat = {size: (1, *getattr(self, size)[1:]) for size in sizes}
        return {**flat, "dense_time_kernel": 1, "transition_time_stride": 1, "ttl_flat": True}


_ODD = ("stem_kernel", "stem_pool_kernel", "dense_time_kernel")
_AT_LEAST_ONE = (
    "blocks",
    "growth_rate",
    "bottleneck",
    "in_channels",
    "stem_channels",
    "stem_stride",
    "stem_pool_stride",
    "ttl_width",
    "transition_time_stride",
)
