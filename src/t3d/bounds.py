"""Ranges of numbers as annotations of fields, `Annotated[float, at_least(0)]`, and their check."""

import os
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, fields, is_dataclass
from functools import cache
from typing import Any, get_type_hints

from t3d.errors import ConfigError

Number = int | float


@dataclass(frozen=True)
class Bound:
    """A condition on a number, and the end of its error message."""

    holds: Callable[[Number], bool]
    """The condition; false for NaN."""
    rule: str


def at_least(smallest: Number, *, below: Number | None = None) -> Bound:
    """At least `smallest`, and optionally less than `below`."""
    if below is None:
        return Bound(lambda value: value >= smallest, f"must be at least {smallest}")
    return Bound(lambda value: smallest <= value < below, f"must be at least {smallest} and below {below}")


def above(lower: Number, largest: Number | None = None) -> Bound:
    """Greater than `lower`, and optionally at most `largest`."""
    if largest is None:
        return Bound(lambda value: value > lower, f"must be above {lower}")
    return Bound(lambda value: lower < value <= largest, f"must be above {lower} and at most {largest}")


def between(smallest: Number, largest: Number) -> Bound:
    """Between `smallest` and `largest`, both included."""
    return Bound(lambda value: smallest <= value <= largest, f"must lie between {smallest} and {largest}")


def inside(lower: Number, upper: Number) -> Bound:
    """Between `lower` and `upper`, both excluded."""
    return Bound(lambda value: lower < value < upper, f"must lie between {lower} and {upper}, both excluded")


def even() -> Bound:
    """Multiples of two."""
    return Bound(lambda value: value % 2 == 0, "must be even")


def per_core(most: int) -> Bound:
    """At most this number of processes per core; each needs about 300 MB."""
    limit = most * (os.cpu_count() or 1)
    rule = f"is too many for this machine; use at most {limit}, one for each core is best"
    return Bound(lambda value: value <= limit, rule)


def check_bounds(options: object) -> None:
    """Check every bounded field of a dataclass and of nested dataclasses; None passes.

    In a tuple, each number is checked.

    Raises:
        ConfigError: A number is out of bounds; the message contains the flag, the value and the rule.
    """
    for name, bounds in _bounds(type(options)).items():  # type: ignore[arg-type]  # a class can be hashed
        value = getattr(options, name)
        if is_dataclass(value):
            check_bounds(value)
        for bound in bounds:
            if not all(bound.holds(number) for number in _numbers(value)):
                raise ConfigError(f"{flag_of(name)} {_typed(value)} {bound.rule}")


def flag_of(name: str) -> str:
    """Flag of a field: `batch_size` of any group of options is `--batch-size`."""
    return f"--{name.replace('_', '-')}"


@cache
def _bounds(kind: type) -> Mapping[str, tuple[Bound, ...]]:
    """The bounds of each field of a dataclass."""
    hints = get_type_hints(kind, include_extras=True)
    return {
        field.name: tuple(item for item in getattr(hints[field.name], "__metadata__", ()) if isinstance(item, Bound))
        for field in fields(kind)
    }


def _numbers(value: Any) -> Iterator[Number]:  # noqa: ANN401  (value of any field)
    for item in value if isinstance(value, tuple) else (value,):
        if isinstance(item, int | float):
            yield item


def _typed(value: object) -> str:
    return " ".join(map(str, value)) if isinstance(value, tuple) else str(value)
