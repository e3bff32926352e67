"""The literals that describe one DenseNet3D or T3D, checked; values only, no layers."""

from dataclasses import dataclass

from t3d.errors import ConfigError

Size = tuple[int, int, int]


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
        for name in _AT_LEAST_ONE:
            if min(self._integers(name), default=0) < 1:
                raise ConfigError(f"{name} {getattr(self, name)} must be at least 1")
        for name in _ODD:
            if any(size % 2 == 0 for size in self._integers(name)):
                raise ConfigError(f"{name} {getattr(self, name)} must be odd")
        self._check_depths()
        if self.neck < 0:
            raise ConfigError(f"neck {self.neck} must be at least 0")
        if not 0 <= self.dropout < 1:
            raise ConfigError(f"dropout {self.dropout} must be at least 0 and below 1")

    @property
    def minimum_size(self) -> Size:
        """Smallest clip (T, H, W) that leaves one position after the last transition."""
        num_transitions = len(self.blocks) - 1
        needed = [self.transition_time_stride**num_transitions, 2**num_transitions, 2**num_transitions]
        if self.keep_last_plane:
            needed[0] = 1
        for stride in (self.stem_pool_stride, self.stem_stride):
            needed = [(size - 1) * step + 1 for size, step in zip(needed, stride, strict=True)]  # odd kernel, same pad
        return needed[0], needed[1], needed[2]

    def _integers(self, name: str) -> tuple[int, ...]:
        value = getattr(self, name)
        return value if isinstance(value, tuple) else (value,)

    def _check_depths(self) -> None:
        between = len(self.blocks) - 1
        if len(self.ttl_depths) != between:
            raise ConfigError(
                f"ttl_depths {self.ttl_depths} must have {between} entries, one after each of the blocks {self.blocks} "
                "but the last"
            )
        if any(depths is not None and min(depths, default=0) < 1 for depths in self.ttl_depths):
            raise ConfigError(f"ttl_depths {self.ttl_depths} must name depths of at least 1, or None")


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
    *_ODD,
)
