from dataclasses import dataclass

import pytest

from t3d.errors import ConfigError
from t3d.models.checks import at_least_one, check_depths, check_ranges, odd


@dataclass
class _Literals:
    width: int = 1
    sizes: tuple[int, ...] = (1, 3, 7)


@pytest.mark.parametrize(
    ("literals", "says"),
    [
        (_Literals(width=0), "width 0 must be at least 1"),
        (_Literals(width=-2), "width -2 must be at least 1"),
        (_Literals(sizes=(3, 0, 3)), r"sizes \(3, 0, 3\) must be at least 1"),
        (_Literals(sizes=()), r"sizes \(\) must be at least 1"),
    ],
)
def test_counts_below_one_are_refused(literals: _Literals, says: str) -> None:
    at_least_one(_Literals(), "width", "sizes")
    with pytest.raises(ConfigError, match=f"^{says}$"):
        at_least_one(literals, "width", "sizes")


@pytest.mark.parametrize(
    ("literals", "says"),
    [
        (_Literals(width=2), "width 2 must be odd"),
        (_Literals(sizes=(3, 3, 4)), r"sizes \(3, 3, 4\) must be odd"),
        (_Literals(width=-1), "width -1 must be at least 1"),
    ],
)
def test_even_kernels_are_refused(literals: _Literals, says: str) -> None:
    odd(_Literals(), "width", "sizes")
    odd(literals)
    with pytest.raises(ConfigError, match=f"^{says}$"):
        odd(literals, "width", "sizes")


@pytest.mark.parametrize("depths", [((1, 3), None), ((1, 3), None, None, None), ()])
def test_depths_must_fit_the_stages(depths: tuple[tuple[int, ...] | None, ...]) -> None:
    check_depths(((1, 3), None, (4,)), 4)
    with pytest.raises(ConfigError, match=r"must have 3 entries, one after each of the 4 stages but the last$"):
        check_depths(depths, 4)


@pytest.mark.parametrize("depths", [((),), ((1, 0),), ((-3,),)])
def test_depths_are_frames(depths: tuple[tuple[int, ...] | None, ...]) -> None:
    with pytest.raises(ConfigError, match=r"must name depths of at least 1, or None$"):
        check_depths(depths, 2)


def test_ranges() -> None:
    check_ranges(0, 0.0)
    check_ranges(7, 0.999)
    with pytest.raises(ConfigError, match=r"^neck -1 must be at least 0$"):
        check_ranges(-1, 0.0)
    for dropout in (-0.1, 1.0):
        with pytest.raises(ConfigError, match=f"^dropout {dropout} must be at least 0 and below 1$"):
            check_ranges(0, dropout)
