"""Ranges of numbers, written at the field they belong to as `Annotated[float, at_least(0)]`, and what checks them."""

import os
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, fields, is_dataclass
from functools import cache
from typing import Any, get_type_hints

from t3d.errors import ConfigError

Number = int | float


@dataclass(frozen=True)
class Bound:
    """What a number must satisfy, and the end of the message where it does not."""

    holds: Callable[[Number], bool]
    """False for not-a-number."""
    rule: str


def at_least(smallest: Number, *, below: Number | None = None) -> Bound:
    """The smallest value allowed, and what is too large, if there is such a value."""
    if below is None:
        return Bound(lambda value: value >= smallest, f"must be at least {smallest}")
    return Bound(lambda value: smallest <= value < below, f"must be at least {smallest} and below {below}")


def above(lower: Number, largest: Number | None = None) -> Bound:
    """Values above one, and up to the largest allowed, if there is one."""
    if largest is None:
        return Bound(lambda value: value > lower, f"must be above {lower}")
    return Bound(lambda value: lower < value <= largest, f"must be above {lower} and at most {largest}")


def between(smallest: Number, largest: Number) -> Bound:
    """The smallest and the largest value allowed."""
    return Bound(lambda value: smallest <= value <= largest, f"must lie between {smallest} and {largest}")


def inside(lower: Number, upper: Number) -> Bound:
    """Values between two, which are not allowed themselves."""
    return Bound(lambda value: lower < value < upper, f"must lie between {lower} and {upper}, both excluded")


def even() -> Bound:
    """Multiples of two."""
    return Bound(lambda value: value % 2 == 0, "must be even")


def per_core(most: int) -> Bound:
    """Processes that the machine has memory for: each takes some 300 MB."""
    limit = most * (os.cpu_count() or 1)
    rule = f"is too many for this machine; use at most {limit}, one for each core is best"
    return Bound(lambda value: value <= limit, rule)


def check_bounds(options: object) -> None:
    """Check every bounded field of a dataclass, and of the dataclasses in it; None passes.

    Of a tuple, each number is checked.

    Raises:
        ConfigError: A number is out of bounds; the message has the flag, the value as typed, and the rule.
    """
    for name, bounds in _bounds(type(options)).items():  # type: ignore[arg-type]  # a class can be hashed
        value = getattr(options, name)
        if is_dataclass(value):
            check_bounds(value)
        for bound in bounds:
            if not all(bound.holds(number) for number in _numbers(value)):
                raise ConfigError(f"{flag_of(name)} {_typed(value)} {bound.rule}")


def flag_of(name: str) -> str:
    """How a field is typed on the command line: `batch_size` of any group of options is `--batch-size`."""
    return f"--{name.replace('_', '-')}"


@cache
def _bounds(kind: type) -> Mapping[str, tuple[Bound, ...]]:
    """The bounds of each field of a dataclass."""
    hints = get_type_hints(kind, include_extras=True)
    return {
        field.name: tuple(item for item in getattr(hints[field.name], "__metadata__", ()) if isinstance(item, Bound))
        for field in fields(kind)
    }


def _numbers(value: Any) -> Iterator[Number]:  # noqa: ANN401  (whatever a field holds)
    for item in value if isinstance(value, tuple) else (value,):
        if isinstance(item, int | float):
            yield item


def _typed(value: object) -> str:
    return " ".join(map(str, value)) if isinstance(value, tuple) else str(value)
