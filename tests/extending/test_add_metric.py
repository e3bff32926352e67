"""The worked example of CONTRIBUTING: a metric is a function and a row of `t3d.evaluation.metrics.METRICS`."""

import json
from collections.abc import Sequence
from pathlib import Path

import pytest

from program import Call
from t3d.evaluation.metrics import METRICS, Metric, VideoResult
from t3d.evaluation.tables import metrics_docs


def mean_confidence(results: Sequence[VideoResult]) -> float | None:
    """The highest score of a video, averaged over videos that could be decoded."""
    highest = [max(result.scores) for result in results if result.scores]
    return sum(highest) / len(highest) if highest else None


@pytest.fixture(autouse=True)
def _registered(monkeypatch: pytest.MonkeyPatch) -> None:
    metric = Metric(
        title="mean confidence", column="confidence", section="video", key="confidence", compute=mean_confidence
    )
    monkeypatch.setitem(METRICS, "confidence", metric)


def test_it_is_in_the_results_the_report_and_the_comparison(small_run: Path, t3d: Call, tmp_path: Path) -> None:
    before = tmp_path / "before"
    with pytest.MonkeyPatch.context() as patch:
        patch.delitem(METRICS, "confidence")
        assert t3d("evaluate", small_run, "--output", before, "--workers", 0, "--clips", 1).code == 0
    after = tmp_path / "after"
    outcome = t3d("evaluate", small_run, "--output", after, "--workers", 0, "--clips", 1)
    metrics = json.loads((after / "metrics.json").read_text())
    shown = f"{metrics['video']['confidence']:.2%}"
    assert f"confidence {shown}" in outcome.out
    assert f'<th scope="row">mean confidence</th><td>{shown}</td>' in (after / "report.html").read_text()
    rows = [
        [cell.strip() for cell in line.split("|")[1:-1]] for line in t3d("compare", before, after).out.splitlines()[:4]
    ]
    assert [row[-1] for row in rows] == ["confidence", "---", "", shown]  # older results have none


def test_it_is_in_the_docs() -> None:
    assert "| mean confidence | `video.confidence` | The highest score of a video, averaged" in metrics_docs()
