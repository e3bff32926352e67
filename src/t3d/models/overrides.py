"""Replace literals of a frozen value object by untrusted ones. Ranges are the object's own business."""

from collections.abc import Mapping
from dataclasses import fields, replace
from types import UnionType
from typing import Any, TypeVar, get_args, get_origin

from t3d.errors import ConfigError

Spec = TypeVar("Spec")


def override(spec: Spec, literals: Mapping[str, object]) -> Spec:
    """Copy a dataclass with some fields replaced, by name and as JSON gives them: lists become tuples.

    Raises:
        ConfigError: When a name is unknown or a value has another type than the field.
    """
    hints = {field.name: field.type for field in fields(spec)}  # type: ignore[arg-type]
    values: dict[str, Any] = {}
    for option, value in literals.items():
        if option not in hints:
            raise ConfigError(f"unknown option {option!r}; choose from {', '.join(hints)}")
        values[option] = float(value) if hints[option] is float and type(value) is int else _as_tuple(value)
        if not _fits(values[option], hints[option]):
            raise ConfigError(f"{option} {value!r} must be of type {_written(hints[option])}")
    return replace(spec, **values)  # type: ignore[type-var]


def _as_tuple(value: object) -> object:
    return tuple(_as_tuple(item) for item in value) if isinstance(value, list | tuple) else value


def _fits(value: object, hint: object) -> bool:
    items = get_args(hint)
    if isinstance(hint, UnionType):
        return any(_fits(value, item) for item in items)
    if get_origin(hint) is not tuple:
        return type(value) is hint  # exactly: a bool is no count
    if not isinstance(value, tuple):
        return False
    if items[-1] is Ellipsis:
        items = items[:1] * len(value)
    return len(items) == len(value) and all(map(_fits, value, items))


def _written(hint: object) -> str:
    return hint.__name__ if isinstance(hint, type) and not get_args(hint) else str(hint)
