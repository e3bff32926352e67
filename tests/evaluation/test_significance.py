import math
from itertools import product

import numpy as np
import pytest

from t3d.evaluation.significance import Tally, bootstrap_interval, holm, mcnemar, t_test, tally

Right = list[bool]


def _answers(both: int, only_first: int, only_second: int, neither: int) -> tuple[Right, Right]:
    first = [True] * (both + only_first) + [False] * (only_second + neither)
    second = [True] * both + [False] * only_first + [True] * only_second + [False] * neither
    return first, second


def test_tally_counts_what_it_was_made_of() -> None:
    counts = tally(*_answers(5, 3, 1, 2))
    assert counts == Tally(both=5, only_first=3, only_second=1, neither=2)
    assert counts.num_videos == 11
    assert counts.difference == pytest.approx(6 / 11 - 8 / 11)
    assert counts + counts == Tally(both=10, only_first=6, only_second=2, neither=4)


@pytest.mark.parametrize(
    ("only_first", "only_second", "p"),
    [
        (0, 0, 1.0),
        (0, 1, 1.0),
        (0, 5, 2 / 2**5),
        (1, 5, 2 * (1 + 6) / 2**6),
        (2, 8, 2 * (1 + 10 + 45) / 2**10),
        (4, 4, 1.0),
    ],
)
def test_mcnemar_is_the_sign_test_counted_by_hand(only_first: int, only_second: int, p: float) -> None:
    found = mcnemar(only_first, only_second), mcnemar(only_second, only_first)
    assert found == pytest.approx((p, p), rel=1e-12)


def test_mcnemar_counts_the_divisions_at_least_as_uneven() -> None:
    for only_first, only_second in product(range(6), repeat=2):
        total, gap = only_first + only_second, abs(only_first - only_second)
        ways = [coins for coins in product((0, 1), repeat=total) if abs(total - 2 * sum(coins)) >= gap]
        assert mcnemar(only_first, only_second) == pytest.approx(len(ways) / 2**total, rel=1e-12)


def test_mcnemar_of_thousands_of_videos_nears_the_normal_approximation() -> None:
    only_first, only_second = 5200, 5000
    z = (only_first - only_second - 1) / math.sqrt(only_first + only_second)
    assert mcnemar(only_first, only_second) == pytest.approx(math.erfc(z / math.sqrt(2)), rel=1e-3)


def test_bootstrap_agrees_with_drawing_videos_one_by_one() -> None:
    first, second = _answers(30, 12, 20, 18)
    gains = np.array(second, dtype=int) - np.array(first, dtype=int)
    draws = np.random.default_rng(1).integers(80, size=(40_000, 80))
    expected = np.quantile(gains[draws].mean(axis=1), (0.025, 0.975))
    interval = bootstrap_interval(first, second, generator=np.random.default_rng(0), num_draws=40_000)
    assert interval == pytest.approx(expected, abs=1 / 80 + 1e-9)  # it moves in steps of a video


def test_bootstrap_has_the_width_of_the_closed_form() -> None:
    first, second = _answers(5000, 1000, 1500, 2500)
    deviation = math.sqrt((0.25 - 0.05**2) / 10_000)
    interval = bootstrap_interval(first, second, generator=np.random.default_rng(0))
    assert interval == pytest.approx((0.05 - 1.96 * deviation, 0.05 + 1.96 * deviation), abs=5e-4)


def test_interval_holds_the_true_difference_in_19_of_20_experiments() -> None:
    """Of 200 experiments 190 are expected; five standard deviations of a binomial are 16."""
    generator = np.random.default_rng(0)
    held = 0
    for both, only_first, only_second, neither in generator.multinomial(200, (0.4, 0.1, 0.2, 0.3), size=200).tolist():
        answers = _answers(both, only_first, only_second, neither)
        low, high = bootstrap_interval(*answers, generator=generator, num_draws=1000)
        held += low <= 0.1 <= high
    assert 190 - 16 <= held <= 200


def test_same_generator_same_interval() -> None:
    answers = _answers(3, 4, 9, 2)
    one, same, other = (bootstrap_interval(*answers, generator=np.random.default_rng(seed)) for seed in (0, 0, 7))
    assert one == same
    assert one == pytest.approx(other, abs=2 / 18)


def test_groups_are_drawn_whole() -> None:
    """Twelve videos of four people, alike within each, tell no more than four videos would."""
    first, second = [False] * 12, [True] * 9 + [False] * 3
    groups = [person for person in "abcd" for _ in range(3)]
    by_group = bootstrap_interval(first, second, groups, generator=np.random.default_rng(0))
    as_one = bootstrap_interval([False] * 4, [True] * 3 + [False], generator=np.random.default_rng(0))
    assert by_group == as_one == (0.25, 1.0)
    assert bootstrap_interval(first, second, generator=np.random.default_rng(0)) == (0.5, 1.0)


def test_groups_of_one_video_are_videos() -> None:
    answers = _answers(3, 4, 9, 2)
    alone, named = (bootstrap_interval(*answers, key, generator=np.random.default_rng(0)) for key in (None, range(18)))
    assert alone == named


def test_runs_that_never_disagree_have_an_interval_of_no_width() -> None:
    assert bootstrap_interval(*_answers(3, 0, 0, 2), generator=np.random.default_rng(0)) == (0.0, 0.0)


def test_holm_against_hand_computed_values() -> None:
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([0.04]) == [0.04]
    assert holm([0.6, 0.9]) == [1.0, 1.0]
    assert holm([]) == []


def test_mean_interval_and_p_of_three_differences() -> None:
    """Mean 2, deviation 1, so t = 2 sqrt(3) with two degrees of freedom, for which there are closed forms."""
    found = t_test([1.0, 2.0, 3.0])
    assert found.mean == 2.0
    assert found.interval == pytest.approx((2 - 4.302653 / math.sqrt(3), 2 + 4.302653 / math.sqrt(3)))
    assert found.p == pytest.approx(1 - 2 * math.sqrt(3) / math.sqrt(2 + 12), abs=1e-12)


@pytest.mark.parametrize(("num_values", "quantile"), [(2, 12.706), (4, 3.182), (6, 2.571), (31, 2.042)])
def test_intervals_have_the_quantiles_of_the_published_table(num_values: int, quantile: float) -> None:
    values = [float(index % 2) for index in range(num_values)]
    low, high = t_test(values).interval or (0, 0)
    error = np.std(values, ddof=1) / math.sqrt(num_values)
    assert (high - low) / 2 == pytest.approx(quantile * error, rel=2e-4)


def test_p_is_below_a_twentieth_exactly_where_zero_is_outside() -> None:
    for shift in (0.1, 0.5, 0.9, 1.0, 1.2, 2.0):
        found = t_test([shift - 1, shift, shift + 1, shift + 0.5])
        assert found.interval is not None
        assert (found.p < 0.05) == (found.interval[0] > 0)


@pytest.mark.parametrize("differences", [[0.25], [0.25, 0.25, 0.25]])
def test_without_scatter_nothing_is_shown(differences: list[float]) -> None:
    found = t_test(differences)
    assert (found.mean, found.interval, found.p) == (0.25, None, 1.0)
