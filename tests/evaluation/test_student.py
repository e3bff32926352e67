import math

import pytest

from t3d.evaluation.significance import repeated, t_quantile, t_within


@pytest.mark.parametrize(
    ("freedom", "published"),
    [(1, 12.706), (2, 4.303), (3, 3.182), (4, 2.776), (5, 2.571), (8, 2.306), (9, 2.262), (30, 2.042), (120, 1.980)],
)
def test_quantiles_are_those_of_the_published_table(freedom: int, published: float) -> None:
    assert t_quantile(freedom) == pytest.approx(published, abs=5e-4)


@pytest.mark.parametrize("t", [0.1, 1.0, 5.0])
def test_one_and_two_degrees_of_freedom_have_a_short_closed_form(t: float) -> None:
    assert t_within(t, 1) == t_within(-t, 1) == pytest.approx(2 / math.pi * math.atan(t))
    assert t_within(t, 2) == pytest.approx(t / math.sqrt(2 + t * t))


def test_mean_interval_and_p_of_three_differences() -> None:
    """Mean 2, deviation 1, so t = 2 sqrt(3) with two degrees of freedom."""
    found = repeated([1.0, 2.0, 3.0])
    assert found.mean == 2.0
    assert found.interval == pytest.approx((2 - 4.302653 / math.sqrt(3), 2 + 4.302653 / math.sqrt(3)))
    assert found.p == pytest.approx(1 - 2 * math.sqrt(3) / math.sqrt(2 + 12))


def test_p_is_below_a_twentieth_exactly_where_zero_is_outside() -> None:
    for shift in (0.1, 0.5, 0.9, 1.0, 1.2, 2.0):
        found = repeated([shift - 1, shift, shift + 1, shift + 0.5])
        assert found.interval is not None
        assert (found.p < 0.05) == (found.interval[0] > 0)


@pytest.mark.parametrize("differences", [[0.25], [0.25, 0.25, 0.25]])
def test_without_scatter_nothing_is_shown(differences: list[float]) -> None:
    found = repeated(differences)
    assert (found.mean, found.interval, found.p) == (0.25, None, 1.0)
