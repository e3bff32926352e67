from dataclasses import replace

import numpy as np
import pytest

from t3d.evaluation.significance import Pair, Tally, adjusted, compare_experiments, compare_runs

WRONG, RIGHT = [False] * 12, [True] * 12


def _compared(first: list[bool], second: list[bool], groups: list[str] | None = None) -> Pair:
    return compare_runs(("a", "b"), (first, second), groups, generator=np.random.default_rng(0))


def test_runs_that_differ_in_every_video() -> None:
    pair = _compared(WRONG, RIGHT)
    assert pair.counts == Tally(both=0, only_first=0, only_second=12, neither=0)
    assert (pair.difference, pair.interval, pair.interval_by_group) == (1.0, (1.0, 1.0), None)
    assert pair.p == pair.p_mcnemar == pair.p_holm == pytest.approx(2 / 2**12)
    assert pair.verdict == "second better"
    assert _compared(RIGHT, WRONG).verdict == "first better"
    assert _compared(RIGHT, RIGHT).verdict == "no difference shown"


def test_videos_of_one_person_do_not_make_a_verdict() -> None:
    """Ten of twelve videos is much by McNemar, but one of the two people shows nothing."""
    first, second = [False] * 10 + [True] * 2, RIGHT
    assert _compared(first, second).verdict == "second better"
    pair = _compared(first, second, ["x"] * 10 + ["y"] * 2)
    assert pair.interval_by_group == (0.0, 1.0)
    assert pair.verdict == "no difference shown"


def test_experiments_are_compared_run_by_run_and_pooled() -> None:
    first = [True, True, False, False]
    seconds = [[True, True, True, False], [True, True, True, True], [True, True, False, True]]
    pair = compare_experiments(("a", "b"), [(first, second) for second in seconds])
    assert pair.num_runs == 3
    assert pair.counts == Tally(both=6, only_first=0, only_second=4, neither=2)
    assert pair.difference == pytest.approx((0.25 + 0.5 + 0.25) / 3)
    assert pair.p_mcnemar == pytest.approx(2 / 2**4)
    t = 4.0  # a mean of 1/3 with an error of sqrt(1/48) / sqrt(3) = 1/12
    assert pair.p == pytest.approx(1 - t / (2 + t * t) ** 0.5)
    assert pair.p_holm == pair.p


def test_several_pairs_make_each_less_sure() -> None:
    pair = replace(_compared(WRONG, RIGHT), p=0.03, p_holm=0.03)
    assert pair.verdict == "second better"
    assert [row.p_holm for row in adjusted([pair, replace(pair, p=0.5)])] == [0.06, 0.5]
    assert adjusted([pair, pair])[0].verdict == "no difference shown"
    assert adjusted([]) == []
