from pathlib import Path

import pytest
import torch

from t3d.data.samples import Sample
from t3d.evaluation.metrics import VideoResult, class_accuracy, confusion, summarise, video_result, wilson_interval
from t3d.inference.scoring import VideoScores


def _result(
    label: int, scores: tuple[float, ...] = (), *, views: tuple[int, int] = (1, 0), tag: str = ""
) -> VideoResult:
    return VideoResult(
        video="v",
        label=label,
        scores=scores,
        num_views=views[0] if scores else 0,
        views_correct=views[1] if scores else 0,
        tag=tag,
        error="" if scores else "v: truncated",
    )


SEVEN = (0.05, 0.1, 0.15, 0.4, 0.12, 0.1, 0.08)
"""Ranking 3 2 4 1 5 6 0: classes 1 and 5 are equal."""


def test_ranking_is_by_score_then_class() -> None:
    assert _result(0, SEVEN).ranking == [3, 2, 4, 1, 5, 6, 0]
    assert _result(0, (0.5, 0.5)).ranking == [0, 1]


@pytest.mark.parametrize(("label", "rank"), [(3, 1), (2, 2), (4, 3), (1, 4), (5, 5), (6, 6), (0, 7)])
def test_within_counts_ranks(label: int, rank: int) -> None:
    hits = [_result(label, SEVEN).within(k) for k in range(1, 8)]
    assert hits == [k >= rank for k in range(1, 8)]


def test_an_undecodable_video_is_never_within() -> None:
    assert not _result(0).within(5)


def test_summary_by_hand() -> None:
    """Four videos of three classes: class 0 right and undecodable, class 3 right, class 0 of rank 7, so wrong."""
    results = [
        _result(0, (0.9, *(0.1 / 6,) * 6), views=(4, 3), tag="near"),
        _result(0, views=(0, 0), tag="near"),
        _result(3, SEVEN, views=(2, 2), tag="far"),
        _result(0, SEVEN, views=(2, 0)),
        _result(5, SEVEN, views=(2, 1)),
    ]
    summary = summarise(results)
    assert summary["video"] == {
        "top1": 2 / 5,
        "top1_interval": wilson_interval(2, 5),
        "top5": 3 / 5,  # class 5 is the fifth
        "mean_class": pytest.approx((1 / 3 + 1 + 0) / 3),  # of the classes that have videos
        "num_videos": 5,
    }
    assert summary["clip"] == {"top1": 6 / 10, "num_clips": 10}  # clips that were never made are not counted
    assert summary["by_tag"] == {
        "far": {"top1": 1.0, "num_videos": 1},
        "near": {"top1": 0.5, "num_videos": 2},
    }


def test_without_tags_or_clips_there_are_no_such_figures() -> None:
    summary = summarise([_result(1)])
    assert "by_tag" not in summary
    assert summary["clip"] == {"top1": None, "num_clips": 0}
    assert summary["video"]["top1"] == 0.0


def test_confusion_has_rows_of_true_classes() -> None:
    results = [_result(0, (0.2, 0.7, 0.1)), _result(0, (0.6, 0.3, 0.1)), _result(2, (0.2, 0.7, 0.1)), _result(2)]
    assert confusion(results, 3) == [[1, 1, 0], [0, 0, 0], [0, 1, 0]]


def test_class_accuracy_counts_undecodable_videos() -> None:
    results = [_result(2, (0.1, 0.2, 0.7)), _result(2), _result(0, (0.1, 0.9, 0.0))]
    assert class_accuracy(results) == {0: (0.0, 1), 2: (0.5, 2)}


@pytest.mark.parametrize(
    ("successes", "trials", "low", "high"),
    [
        (81, 263, 0.2553, 0.3662),  # Newcombe 1998, Statistics in Medicine 17, table I, method 3
        (15, 148, 0.0624, 0.1605),
        (0, 20, 0.0000, 0.1611),
        (1, 29, 0.0061, 0.1718),
    ],
)
def test_the_interval_is_wilsons_as_published(successes: int, trials: int, low: float, high: float) -> None:
    assert wilson_interval(successes, trials) == pytest.approx((low, high), abs=5e-5)


def test_the_interval_is_symmetric_and_within_bounds() -> None:
    low, high = wilson_interval(20, 20)
    assert (1 - high, 1 - low) == pytest.approx(wilson_interval(0, 20))
    assert 0 <= low <= high <= 1
    assert wilson_interval(0, 0) == (0.0, 1.0)


def test_a_row_reduces_views() -> None:
    sample = Sample(name="a.mp4", path=Path("a.mp4"), label=1, group="a", tag="far")
    parts = [torch.tensor([[0.25, 0.75], [0.5, 0.5]]), torch.tensor([[1.0, 0.0]])]
    scored = VideoScores(sample=sample, parts=parts, frames=[(0, 1)] * 3, num_clips=3)
    row = video_result(scored)
    assert row.scores == pytest.approx((1.75 / 3, 1.25 / 3))
    assert (row.num_views, row.views_correct) == (3, 1)
    assert (row.video, row.label, row.tag, row.error) == ("a.mp4", 1, "far", "")


def test_a_row_of_an_undecodable_video_has_no_scores() -> None:
    sample = Sample(name="a.mp4", path=Path("a.mp4"), label=1, group="a", tag="far")
    row = video_result(VideoScores(sample=sample, error="a.mp4: truncated"))
    assert row == VideoResult(
        video="a.mp4", label=1, scores=(), num_views=0, views_correct=0, tag="far", error="a.mp4: truncated"
    )
