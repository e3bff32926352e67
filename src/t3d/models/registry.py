"""The table of networks, and creating one by name with options replaced.

A new architecture is one row: a frozen dataclass of options whose `build` makes the layers (see `Spec`).
"""

from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from types import UnionType
from typing import Any, TypeVar, get_args, get_origin

import torch

from t3d.errors import ConfigError
from t3d.models.c3d import C3DSpec
from t3d.models.inception3d import InceptionSpec
from t3d.models.network import Network, Spec
from t3d.models.resnet3d import ResNetSpec
from t3d.models.t3d import DenseNetSpec


@dataclass(frozen=True, kw_only=True)
class Architecture:
    """One row of the table: the spec, and the native clip size."""

    spec: Spec
    num_frames: int = 32
    size: int = 224

    def __call__(
        self, num_classes: int = 400, *, generator: torch.Generator | None = None, **overrides: object
    ) -> Network:
        """Build the network with some of its options replaced.

        Raises:
            ConfigError: When an override is unknown or makes no sense.
        """
        if num_classes < 0:
            raise ConfigError(f"num_classes {num_classes} must be at least 0")
        return Network(override(self.spec, overrides), num_classes=num_classes, generator=generator)


AnySpec = TypeVar("AnySpec")

_DEPTHS = ((1, 3, 6), (1, 3, 4), (1, 3, 4))  # Table 1

_121 = DenseNetSpec(blocks=(6, 12, 24, 16))
_161 = DenseNetSpec(blocks=(6, 12, 36, 24), growth_rate=48, stem_channels=96)
_169 = DenseNetSpec(blocks=(6, 12, 32, 32))
_201 = DenseNetSpec(blocks=(6, 12, 48, 32))

_TINY = DenseNetSpec(blocks=(2, 3, 4, 3), growth_rate=16, bottleneck=2, stem_channels=24, ttl_width=16)

_R18 = ResNetSpec(blocks=(2, 2, 2, 2))
_R50 = ResNetSpec(blocks=(3, 4, 6, 3), bottleneck=True)
_R3D_18 = replace(_R18, stem_kernel=(3, 7, 7), stem_pool_stride=None)  # as in torchvision

_INCEPTION = InceptionSpec()
_I3D = InceptionSpec(  # Carreira and Zisserman 2017, arXiv:1705.07750, Fig. 3
    wide_kernel=3,
    pool_kernels=((1, 3, 3), (1, 3, 3), (3, 3, 3), (2, 2, 2)),
    pool_strides=((1, 2, 2), (1, 2, 2), (2, 2, 2), (2, 2, 2)),
    same=True,
    norm_eps=1e-3,
    norm_momentum=0.01,
    head="sliding",
    dropout=0.5,
)

# About half a million parameters each with 12 classes, for CPUs and for comparisons.
_TINY_C3D = C3DSpec(widths=((9,), (18,), (36, 36), (72, 72), (72, 72)), head="mean", dropout=0.0)
_TINY_RESNET = ResNetSpec(blocks=(1, 1, 1, 1), width=12)
_TINY_INCEPTION = InceptionSpec(
    entry=(24, 24, 56),
    mixed=(
        ((28, 32, 52, 10, 20, 20),),
        ((36, 40, 72, 14, 28, 24), (36, 40, 72, 14, 28, 24)),
        ((56, 56, 112, 20, 40, 32),),
    ),
    wide_kernel=3,
    stem_kernel=(3, 7, 7),
    pool_strides=((1, 2, 2), (2, 2, 2), (2, 2, 2), (2, 2, 2)),
)
_TINY_INCEPTION_TTL = replace(
    _TINY_INCEPTION,
    entry=(16, 16, 32),
    mixed=(
        ((16, 16, 32, 8, 12, 12),),
        ((24, 24, 40, 8, 16, 16), (24, 24, 40, 8, 16, 16)),
        ((32, 32, 64, 12, 24, 24),),
    ),
    ttl_depths=_DEPTHS,
)

ARCHITECTURES: dict[str, Architecture] = {
    "c3d": Architecture(spec=C3DSpec(), num_frames=16, size=112),
    "c3d_tiny": Architecture(spec=_TINY_C3D, num_frames=16, size=64),
    "densenet3d_121": Architecture(spec=_121),
    "densenet3d_161": Architecture(spec=_161),
    "densenet3d_169": Architecture(spec=_169),
    "densenet3d_201": Architecture(spec=_201),
    "densenet3d_tiny": Architecture(spec=replace(_TINY, growth_rate=18, bottleneck=4), num_frames=16, size=64),
    "i3d": Architecture(spec=_I3D, num_frames=64),
    "inception3d": Architecture(spec=_INCEPTION),
    "inception3d_ttl": Architecture(spec=replace(_INCEPTION, ttl_depths=_DEPTHS)),
    "inception3d_tiny": Architecture(spec=_TINY_INCEPTION, num_frames=16, size=64),
    "inception3d_tiny_ttl": Architecture(spec=_TINY_INCEPTION_TTL, num_frames=16, size=64),
    "r3d_18": Architecture(spec=_R3D_18, num_frames=16, size=112),
    "resnet3d_10": Architecture(spec=replace(_R18, blocks=(1, 1, 1, 1)), num_frames=16, size=112),
    "resnet3d_18": Architecture(spec=_R18, num_frames=16, size=112),
    "resnet3d_34": Architecture(spec=replace(_R18, blocks=(3, 4, 6, 3)), num_frames=16, size=112),
    "resnet3d_38": Architecture(spec=replace(_R18, blocks=(3, 4, 8, 3)), num_frames=16, size=112),  # our reading
    "resnet3d_50": Architecture(spec=_R50, num_frames=16, size=112),
    "resnet3d_50_ttl": Architecture(spec=replace(_R50, ttl_depths=_DEPTHS), num_frames=16, size=112),
    "resnet3d_101": Architecture(spec=replace(_R50, blocks=(3, 4, 23, 3)), num_frames=16, size=112),
    "resnet3d_tiny": Architecture(spec=_TINY_RESNET, num_frames=16, size=64),
    "resnet3d_tiny_ttl": Architecture(spec=replace(_TINY_RESNET, width=11, ttl_depths=_DEPTHS), num_frames=16, size=64),
    "t3d_121": Architecture(spec=replace(_121, ttl_depths=_DEPTHS)),
    "t3d_161": Architecture(spec=replace(_161, ttl_depths=_DEPTHS)),
    "t3d_169": Architecture(spec=replace(_169, ttl_depths=_DEPTHS)),
    "t3d_201": Architecture(spec=replace(_201, ttl_depths=_DEPTHS)),
    "t3d_tiny": Architecture(spec=replace(_TINY, ttl_depths=_DEPTHS), num_frames=16, size=64),
}
"""All networks by name; users may add rows."""


def create_model(
    name: str, num_classes: int = 400, *, generator: torch.Generator | None = None, **overrides: object
) -> Network:
    """Build a network by name, with random weights.

    Args:
        name: A key of `ARCHITECTURES`.
        num_classes: Width of the classifier; 0 leaves it out, and the network returns the features.
        generator: Source of the initial weights; PyTorch's own when not given.
        overrides: Options to replace, fields of the family's spec such as `DenseNetSpec`; all are valid JSON.

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
    """Native clip (channels, frames, height, width) of a network; other sizes work too."""
    row = architecture(name)
    return row.spec.in_channels, row.num_frames, row.size, row.size


def override(spec: AnySpec, values: Mapping[str, object]) -> AnySpec:
    """Copy a spec with some fields replaced, from values as JSON gives them: lists become tuples.

    Raises:
        ConfigError: When a name is unknown, a value has another type than the field, or the spec refuses it.
    """
    hints = {field.name: field.type for field in fields(spec)}  # type: ignore[arg-type]
    replaced: dict[str, Any] = {}
    for option, value in values.items():
        if option not in hints:
            raise ConfigError(f"unknown option {option!r}; choose from {', '.join(hints)}")
        replaced[option] = float(value) if hints[option] is float and type(value) is int else _as_tuple(value)
        if not _fits(replaced[option], hints[option]):
            raise ConfigError(f"{option} {value!r} must be of type {_written(hints[option])}")
    return replace(spec, **replaced)  # type: ignore[type-var]


def _as_tuple(value: object) -> object:
    return tuple(_as_tuple(item) for item in value) if isinstance(value, list | tuple) else value


def _fits(value: object, hint: object) -> bool:
    items = get_args(hint)
    if isinstance(hint, UnionType):
        return any(_fits(value, item) for item in items)
    if get_origin(hint) is not tuple:
        return type(value) is hint  # exactly: a bool is not a count
    if not isinstance(value, tuple):
        return False
    if items[-1] is Ellipsis:
        items = items[:1] * len(value)
    return len(items) == len(value) and all(map(_fits, value, items))


def _written(hint: object) -> str:
    return hint.__name__ if isinstance(hint, type) and not get_args(hint) else str(hint)
