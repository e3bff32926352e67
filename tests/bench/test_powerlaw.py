import math

import pytest

from t3d.bench.powerlaw import fit_power_law


@pytest.mark.parametrize("exponent", [-1.0, 0.0, 1.0, 2.5])
def test_an_exact_law_is_found_without_error(exponent: float) -> None:
    law = fit_power_law([8, 16, 64], [3 * size**exponent for size in (8, 16, 64)])
    assert law is not None
    assert law.exponent == pytest.approx(exponent, abs=1e-12)
    assert law.error == pytest.approx(0, abs=1e-6)
    assert law.factor == pytest.approx(3)
    assert law(32) == pytest.approx(3 * 32**exponent)


def test_the_error_is_that_of_least_squares() -> None:
    """Logarithms 0, 1, 2 against 0, 2, 1: slope 1/2, residuals -1/2, 1, -1/2, so sqrt(1.5 / 1 / 2)."""
    law = fit_power_law([1, math.e, math.e**2], [1, math.e**2, math.e])
    assert law is not None
    assert law.exponent == pytest.approx(0.5)
    assert law.error == pytest.approx(math.sqrt(0.75))
    assert str(law) == "0.50 ± 0.87"


def test_two_points_make_no_law() -> None:
    assert fit_power_law([1, 2], [1, 2]) is None
