import math
from dataclasses import dataclass, field
from typing import Annotated

import pytest

from t3d.bounds import above, at_least, between, check_bounds, even, inside, per_core
from t3d.errors import ConfigError


@dataclass(frozen=True)
class Inner:
    least: Annotated[int, at_least(1)] = 1
    dropped: Annotated[float, at_least(0, below=1)] = 0.0
    over: Annotated[float | None, above(0)] = None
    part: Annotated[float, above(0, 1)] = 1.0
    share: Annotated[float, between(0, 1)] = 0.0
    open: Annotated[float, inside(0, 1)] = 0.5
    num_workers: Annotated[int, at_least(0), per_core(4)] = 0
    sizes: Annotated[tuple[int, ...], at_least(16), even()] = (16, 18)


@dataclass(frozen=True)
class Outer:
    name: str = "any"
    inner: Inner = field(default_factory=Inner)

    def __post_init__(self) -> None:
        check_bounds(self)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"least": 0}, "--least 0 must be at least 1"),
        ({"dropped": 1.0}, "--dropped 1.0 must be at least 0 and below 1"),
        ({"over": 0.0}, "--over 0.0 must be above 0"),
        ({"over": math.nan}, "--over nan must be above 0"),
        ({"part": 0.0}, "--part 0.0 must be above 0 and at most 1"),
        ({"part": 1.5}, "--part 1.5 must be above 0 and at most 1"),
        ({"share": -0.1}, "--share -0.1 must lie between 0 and 1"),
        ({"share": math.nan}, "--share nan must lie between 0 and 1"),
        ({"open": 1}, "--open 1 must lie between 0 and 1, both excluded"),
        ({"num_workers": 10**6}, "--num-workers 1000000 is too many for this machine"),
        ({"sizes": (16, 17)}, "--sizes 16 17 must be even"),
        ({"sizes": (16, 14)}, "--sizes 16 14 must be at least 16"),
    ],
)
def test_value_out_of_bounds_is_named_as_typed(given: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        Outer(inner=Inner(**given))  # type: ignore[arg-type]
    assert str(caught.value).startswith(message)


def test_what_is_left_out_and_the_ends_of_a_range_pass() -> None:
    Outer(inner=Inner(over=None, part=1, share=1.0, dropped=0, sizes=()))
