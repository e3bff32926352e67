"""The table of networks, and building one by name. What each costs is `t3d.models.describe`'s business."""

from dataclasses import dataclass, replace

import torch

from t3d.errors import ConfigError
from t3d.models.densenet3d import DenseNet3D
from t3d.models.densenet_spec import DenseNetSpec
from t3d.models.overrides import override


@dataclass(frozen=True, kw_only=True)
class Architecture:
    """One row of the table: what to build, and the clips it is meant for."""

    spec: DenseNetSpec
    num_frames: int = 32
    size: int = 224

    def __call__(
        self, num_classes: int = 400, *, generator: torch.Generator | None = None, **overrides: object
    ) -> DenseNet3D:
        """Build the network with some of its literals replaced.

        Raises:
            ConfigError: When an override is unknown or makes no sense.
        """
        if num_classes < 0:
            raise ConfigError(f"num_classes {num_classes} must be at least 0")
        return DenseNet3D(override(self.spec, overrides), num_classes=num_classes, generator=generator)


_DEPTHS = ((1, 3, 6), (1, 3, 4), (1, 3, 4))  # Table 1

_121 = DenseNetSpec(blocks=(6, 12, 24, 16))
_161 = DenseNetSpec(blocks=(6, 12, 36, 24), growth_rate=48, stem_channels=96)
_169 = DenseNetSpec(blocks=(6, 12, 32, 32))
_201 = DenseNetSpec(blocks=(6, 12, 48, 32))

_TINY = DenseNetSpec(blocks=(2, 3, 4, 3), growth_rate=16, bottleneck=2, stem_channels=24, ttl_width=16)

ARCHITECTURES: dict[str, Architecture] = {
    "densenet3d_121": Architecture(spec=_121),
    "densenet3d_161": Architecture(spec=_161),
    "densenet3d_169": Architecture(spec=_169),
    "densenet3d_201": Architecture(spec=_201),
    "densenet3d_tiny": Architecture(spec=replace(_TINY, growth_rate=18, bottleneck=4), num_frames=16, size=64),
    "t3d_121": Architecture(spec=replace(_121, ttl_depths=_DEPTHS)),
    "t3d_161": Architecture(spec=replace(_161, ttl_depths=_DEPTHS)),
    "t3d_169": Architecture(spec=replace(_169, ttl_depths=_DEPTHS)),
    "t3d_201": Architecture(spec=replace(_201, ttl_depths=_DEPTHS)),
    "t3d_tiny": Architecture(spec=replace(_TINY, ttl_depths=_DEPTHS), num_frames=16, size=64),
}


def create_model(
    name: str, num_classes: int = 400, *, generator: torch.Generator | None = None, **overrides: object
) -> DenseNet3D:
    """Build a network by name, with random weights.

    Args:
        name: A key of `ARCHITECTURES`.
        num_classes: Width of the classifier; 0 leaves it out, and the network returns what it would have seen.
        generator: Source of the initial weights; PyTorch's own when not given.
        overrides: Literals to replace, by the names of `DenseNetSpec`; all can be written as JSON.

    Raises:
        ConfigError: When the name or an override is unknown, or an override makes no sense.
    """
    return architecture(name)(num_classes, generator=generator, **overrides)


def architecture(name: str) -> Architecture:
    """Find the row of a network.

    Raises:
        ConfigError: When the name is unknown.
    """
    if name not in ARCHITECTURES:
        raise ConfigError(f"unknown arch {name!r}; choose from {', '.join(ARCHITECTURES)}")
    return ARCHITECTURES[name]


def native_input(name: str) -> tuple[int, int, int, int]:
    """Shape (channels, frames, height, width) of the clips a network is meant for; others work too."""
    row = architecture(name)
    return row.spec.in_channels, row.num_frames, row.size, row.size
