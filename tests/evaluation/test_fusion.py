from collections.abc import Sequence

import numpy as np
import pytest
import torch

from t3d.evaluation.fusion import find_difference, fit_weights, mix
from t3d.evaluation.metrics import VideoResult

Rows = list[VideoResult]


def _rows(scores: np.ndarray, labels: Sequence[int]) -> Rows:
    """One run: scores (N, K)."""
    return [
        VideoResult(video=str(index), label=label, scores=tuple(row), num_views=1, views_correct=0)
        for index, (row, label) in enumerate(zip(scores.tolist(), labels, strict=True))
    ]


def _random_runs(num_runs: int, *, num_videos: int = 40, seed: int = 0) -> list[Rows]:
    """Networks that are right more often than not, each in its own way."""
    draw = np.random.default_rng(seed)
    labels = draw.integers(0, 3, num_videos)
    runs = []
    for number in range(num_runs):
        logits = draw.normal(size=(num_videos, 3)) * (1 + number)
        logits[np.arange(num_videos), labels] += 1
        runs.append(_rows(np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True), labels.tolist()))
    return runs


def _loss(runs: Sequence[Rows], weights: Sequence[float]) -> float:
    """Mean negative log of what the mixture gives the label, written out."""
    mixed = [
        sum(weight * row.scores[row.label] for weight, row in zip(weights, rows, strict=True))
        for rows in zip(*runs, strict=True)
    ]
    return float(-np.mean(np.log(mixed)))


@pytest.mark.parametrize("seed", range(5))
def test_two_weights_are_those_of_a_fine_grid(seed: int) -> None:
    runs = _random_runs(2, seed=seed)
    grid = [(share / 2000, 1 - share / 2000) for share in range(2001)]
    best = min(grid, key=lambda weights: _loss(runs, weights))
    assert fit_weights(runs) == pytest.approx(best, abs=1e-3)


def test_three_weights_are_those_of_a_grid() -> None:
    runs = _random_runs(3, seed=3)
    grid = [(i / 100, j / 100, (100 - i - j) / 100) for i in range(101) for j in range(101 - i)]
    best = min(grid, key=lambda weights: _loss(runs, weights))
    weights = fit_weights(runs)
    assert weights == pytest.approx(best, abs=0.01)
    assert _loss(runs, weights) <= _loss(runs, best)


@pytest.mark.parametrize("num_runs", [1, 2, 4])
def test_no_weight_can_be_raised_to_advantage(num_runs: int) -> None:
    """At the best point each network's mean p / mixture is 1 where it counts and at most 1 where it does not."""
    runs = _random_runs(num_runs)
    weights = fit_weights(runs)
    assert sum(weights) == pytest.approx(1)
    chances = np.array([[row.scores[row.label] for row in rows] for rows in runs])
    gains = (chances / (np.array(weights) @ chances)).mean(axis=1)
    assert gains.max() <= 1 + 1e-8
    assert gains[np.array(weights) > 1e-3] == pytest.approx(1, abs=1e-4)


def test_a_planted_mixture_is_recovered() -> None:
    """Labels are drawn from 0.7 of the first network's scores and 0.3 of the second's, 20 000 times."""
    draw = np.random.default_rng(1)
    first, second = (draw.dirichlet(np.full(4, 0.3), 20_000) for _ in range(2))
    planted = 0.7 * first + 0.3 * second
    labels = [int(draw.choice(4, p=row / row.sum())) for row in planted]
    assert fit_weights([_rows(first, labels), _rows(second, labels)]) == pytest.approx((0.7, 0.3), abs=0.02)


def test_a_network_that_is_always_worse_gets_nothing_and_equal_ones_share() -> None:
    good, bad = (_rows(np.array([[share, 1 - share]] * 3), [0, 0, 0]) for share in (0.9, 0.2))
    assert fit_weights([good, bad]) == pytest.approx((1, 0), abs=1e-4)
    assert fit_weights([good, good]) == (0.5, 0.5)


def test_a_label_that_all_networks_rule_out_is_no_division_by_zero() -> None:
    hopeless = _rows(np.array([[0.0, 1.0], [0.8, 0.2]]), [0, 0])
    other = _rows(np.array([[0.0, 1.0], [0.4, 0.6]]), [0, 0])
    assert fit_weights([hopeless, other])[0] > 0.99


def test_fitting_is_the_same_each_time_and_draws_nothing() -> None:
    state = torch.random.get_rng_state()
    assert fit_weights(_random_runs(3)) == fit_weights(_random_runs(3))
    assert torch.random.get_rng_state().equal(state)


def test_scores_are_the_weighted_mean_in_closed_form() -> None:
    first = VideoResult(video="a", label=1, scores=(0.5, 0.25, 0.25), num_views=4, views_correct=3, tag="t")
    second = VideoResult(video="a", label=1, scores=(0.0, 1.0, 0.0), num_views=9, views_correct=9, tag="t")
    assert mix([[first], [second]], (0.25, 0.75)) == [
        VideoResult(video="a", label=1, scores=(0.125, 0.8125, 0.0625), num_views=0, views_correct=0, tag="t")
    ]


def test_rows_are_mixed_only_of_the_same_videos_and_labels() -> None:
    scores = np.full((3, 2), 0.5)
    first, relabelled = ({row.video: row for row in _rows(scores, labels)} for labels in ([0, 1, 0], [0, 1, 1]))
    assert find_difference(first, dict(reversed(first.items()))) == ""
    assert find_difference(first, relabelled) == "the label of 2"
    fewer = {name: first[name] for name in ("0", "2")}
    assert find_difference(first, fewer) == find_difference(fewer, first) == "only one of them has 1"


@pytest.mark.parametrize("order", [0, 1])
def test_what_one_run_could_not_decode_has_no_scores_and_is_named(order: int) -> None:
    good = VideoResult(video="a", label=0, scores=(0.9, 0.1), num_views=1, views_correct=1)
    broken = VideoResult(video="a", label=0, scores=(), num_views=0, views_correct=0, error="a: truncated")
    runs = [[good], [broken]] if order == 0 else [[broken], [good]]
    (row,) = mix(runs, (0.5, 0.5))
    assert (row.scores, row.error, row.within(1)) == ((), "a: truncated", False)
