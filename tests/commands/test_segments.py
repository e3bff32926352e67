"""A training with segments (TSN) as a user goes through it."""

import csv
import json
import os
import signal
from collections.abc import Sequence
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from program import MICRO, NUM_TEST, Call
from t3d import cli
from t3d.commands import predict
from t3d.commands._console import TrainingReporter
from t3d.errors import DecodeError
from t3d.training.loop import Progress
from t3d.video.reader import ArrayVideo

FLAGS = (*MICRO, "--segments", "3", "--consensus", "top-k")


@pytest.fixture(scope="module")
def segmented(dataset: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished and evaluated run of three updates."""
    folder = tmp_path_factory.mktemp("runs") / "segmented"
    train = ["train", str(dataset), "--output", str(folder), *FLAGS, "--max-steps", "3", "--select-on", "validation"]
    for command in (train, ["evaluate", str(folder), "--workers", "0", "--accelerator", "cpu"]):
        with pytest.raises(SystemExit) as ended:
            cli.main(command)
        assert ended.value.code == 0
    return folder


def _rows(folder: Path) -> list[dict[str, str]]:
    with (folder / "predictions.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def test_results_name_segments_and_consensus(segmented: Path) -> None:
    metrics = json.loads((segmented / "metrics.json").read_text())
    assert metrics["protocol"]["views"] == "3 segments x centre crop, weighted top 2 of logits"
    assert metrics["protocol"]["averaged"] == (
        "softmax of the weighted top 2 of the logits of all views of a video; learnt with 3"
    )
    assert "3 segments x centre crop, weighted top 2 of logits" in (segmented / "report.html").read_text()
    assert metrics["clip"]["num_clips"] == 3 * NUM_TEST
    assert {row["num_views"] for row in _rows(segmented)} == {"3"}
    saved = json.loads((segmented / "config.json").read_text())["model"]["segments"]
    assert saved == {"segments": 3, "consensus": "top-k", "consensus_top": 2}


def test_a_prediction_equals_the_evaluation_exactly(segmented: Path, dataset: Path, t3d: Call, tmp_path: Path) -> None:
    """With a timeline, too, which follows the whole video clip after clip."""
    files = [dataset.parent / row["video"] for row in _rows(segmented)]
    for flags in ((), ("--timeline", tmp_path)):
        answers = json.loads(t3d("predict", segmented, *files, "--json", "--workers", 0, *flags).out)
        for answer, row in zip(answers, _rows(segmented), strict=True):
            scores = {entry["label"]: entry["score"] for entry in answer["predictions"]}
            assert scores == {label: float(row[f"score:{label}"]) for label in "ab"}
            assert answer["clips"] == 3
    with (tmp_path / "test4.mp4.timeline.csv").open(newline="") as file:
        assert [row["start_seconds"] for row in csv.DictReader(file)] == ["0.000", "0.160", "0.320"]  # 4 of 25 a second
    with (tmp_path / "test0.mp4.timeline.csv").open(newline="") as file:
        assert len(list(csv.DictReader(file))) == 2  # of eight frames


class _BeginsBadly(ArrayVideo):
    """Cannot decode its first frame, which no segment's centred clip holds."""

    def frames(self, indices: Sequence[int] | torch.Tensor) -> torch.Tensor:
        if min(int(index) for index in indices) == 0:
            raise DecodeError(f"{self.name}: frame 0 is damaged")
        return super().frames(indices)


def test_a_timeline_that_cannot_be_made_is_said_and_the_prediction_stays(
    segmented: Path, t3d: Call, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pictures = torch.zeros(40, 32, 48, 3, dtype=torch.uint8)
    monkeypatch.setattr(predict, "video_source", lambda *_, **__: lambda path: _BeginsBadly(pictures, name="bad"))
    outcome = t3d("predict", segmented, "bad.mp4", "--json", "--workers", 0, "--timeline", tmp_path)
    assert (outcome.code, outcome.err) == (0, "warning: no timeline: bad: frame 0 is damaged\n")
    assert len(json.loads(outcome.out)[0]["predictions"]) == 2
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("flags", "num_views", "views"),
    [
        (("--segments", 5), "5", "5 segments x centre crop, weighted top 2 of logits"),
        (("--clips", 1), "1", "1 evenly spaced clips x centre crop, weighted top 2 of logits"),
        (("--crops", 3), "9", "3 segments x 3 crops, weighted top 2 of logits"),
    ],
)
def test_other_views_are_judged_by_the_same_consensus(
    flags: tuple[object, ...], num_views: str, views: str, segmented: Path, t3d: Call, tmp_path: Path
) -> None:
    assert t3d("evaluate", segmented, *flags, "--output", tmp_path, "--workers", 0).code == 0
    assert {row["num_views"] for row in _rows(tmp_path)} == {num_views}
    assert json.loads((tmp_path / "metrics.json").read_text())["protocol"]["views"] == views


def test_segments_are_views_of_any_run(trained: Path, t3d: Call, tmp_path: Path) -> None:
    assert t3d("evaluate", trained, "--segments", 2, "--output", tmp_path, "--workers", 0).code == 0
    protocol = json.loads((tmp_path / "metrics.json").read_text())["protocol"]
    assert protocol["views"] == "2 segments x centre crop"
    assert protocol["averaged"] == "softmax scores of all views of a video"


def test_interrupted_within_an_epoch_it_ends_in_the_same_weights(
    dataset: Path, t3d: Call, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    flags = (*FLAGS, "--recompute-segments", "--epochs", 2, "--min-steps", 0, "--dropout", 0.2, "--ema-decay", 0.9)
    assert t3d("train", dataset, "--output", tmp_path / "whole", *flags).code == 0

    def interrupt(self: TrainingReporter, progress: Progress) -> None:
        if progress.step == 6:  # of four updates an epoch
            os.kill(os.getpid(), signal.SIGINT)

    with monkeypatch.context() as patch:
        patch.setattr(TrainingReporter, "step", interrupt)
        assert t3d("train", dataset, "--output", tmp_path / "parts", *flags).code == 130
    assert t3d("train", dataset, "--output", tmp_path / "parts", *flags, "--resume").code == 0
    ours, theirs = (load_file(tmp_path / name / "last.safetensors") for name in ("parts", "whole"))
    assert ours.keys() == theirs.keys()
    assert all(torch.equal(ours[name], theirs[name]) for name in ours)


def test_one_video_at_a_time_is_a_batch_of_its_segments(dataset: Path, t3d: Call, tmp_path: Path) -> None:
    """Of such small clips, one alone has nothing to be normalised by."""
    flags = (*FLAGS, "--batch-size", 1, "--max-steps", 1)
    refused = t3d("train", dataset, "--output", tmp_path, *flags, "--recompute-segments")
    assert refused.code == 2
    assert "--batch-size 2" in refused.err
    assert t3d("train", dataset, "--output", tmp_path, *flags).code == 0
