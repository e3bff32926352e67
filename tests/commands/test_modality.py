"""What the network sees is said once, at training; evaluation, prediction and old files follow the card."""

import csv
import errno
import json
import os
import zipfile
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path

import pytest
import torch

from program import EXACT, MICRO, NUM_TEST, Call, drifting, write_dataset
from t3d import cli
from t3d.inference.classifier import load
from t3d.models.checkpoints import ModelCard, read_weights
from t3d.video.decode import open_video
from t3d.video.spec import ClipSpec, PixelSpec


@pytest.fixture(scope="module")
def moving(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Videos in which something moves: of those of the other tests all flow is 0."""
    return write_dataset(tmp_path_factory.mktemp("dataset"), drifting)


@pytest.fixture(scope="module")
def train(moving: Path, tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """Train a run that sees something else than pictures."""

    def run(modality: str) -> Path:
        folder = tmp_path_factory.mktemp("runs") / modality
        flags = ("--max-steps", "2", "--modality", modality)
        with pytest.raises(SystemExit) as ended:
            cli.main(["train", str(moving), "--output", str(folder), *MICRO, *flags])
        assert ended.value.code == 0
        return folder

    return run


@pytest.fixture(scope="module")
def changes(train: Callable[[str], Path]) -> Path:
    """A run that sees the change from each frame to the next."""
    return train("difference")


@pytest.fixture(scope="module")
def motion(train: Callable[[str], Path]) -> Path:
    """A run that sees optical flow."""
    return train("flow")


@pytest.mark.parametrize("modality", ["difference", "flow"])
def test_evaluation_and_prediction_see_what_training_saw(
    modality: str, changes: Path, motion: Path, moving: Path, tmp_path: Path, t3d: Call
) -> None:
    run = motion if modality == "flow" else changes
    assert read_weights(run)[1].pixels.modality == modality
    assert t3d("evaluate", run, "--output", tmp_path, "--workers", 0).code == 0
    with (tmp_path / "predictions.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    files = [moving.parent / row["video"] for row in rows]
    answers = json.loads(t3d("predict", run, *files, "--json", "--workers", 0).out)
    assert len(answers) == len(rows) > 0
    for answer, row in zip(answers, rows, strict=True):
        scores = {entry["label"]: entry["score"] for entry in answer["predictions"]}
        assert scores == {label: float(row[f"score:{label}"]) for label in "ab"}


def test_the_flag_changes_what_is_learnt(changes: Path, moving: Path, tmp_path: Path, t3d: Call) -> None:
    pictures = tmp_path / "pictures"
    assert t3d("train", moving, "--output", pictures, *MICRO, "--max-steps", 2).code == 0
    (differences, _), (plain, _) = read_weights(changes), read_weights(pictures)
    assert any((differences[name] != plain[name]).any() for name in plain)


def test_one_frame_is_refused_in_one_line(moving: Path, tmp_path: Path, t3d: Call) -> None:
    outcome = t3d(
        *("train", moving, "--output", tmp_path / "run", *MICRO, "--max-steps", 1),
        *("--num-frames", 1, "--modality", "difference"),
    )
    assert outcome.code != 0
    assert "clips of one frame hold no change" in outcome.err
    assert "Traceback" not in outcome.err


def test_a_card_from_before_there_was_a_choice_means_pictures() -> None:
    card = ModelCard(arch="t3d_tiny", overrides={}, labels=("a",), clip=ClipSpec(), pixels=PixelSpec())
    values = json.loads(card.to_json())
    del values["pixels"]["modality"]
    assert asdict(ModelCard.from_json(json.dumps(values))) == asdict(card)


def test_flow_is_computed_once_and_its_place_is_said_once(
    motion: Path, tmp_path: Path, t3d: Call, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("T3D_CACHE", str(tmp_path / "cache"))
    first = t3d("evaluate", motion, "--output", tmp_path / "one", *EXACT, "--workers", 2)
    files = sorted((tmp_path / "cache" / "flow").rglob("*.zip"))
    assert len(files) == NUM_TEST
    stamps = [file.stat().st_mtime_ns for file in files]
    second = t3d("evaluate", motion, "--output", tmp_path / "two", *EXACT, "--workers", 0)
    assert [outcome.err.count("optical flow is computed") for outcome in (first, second)] == [1, 0]
    assert [file.stat().st_mtime_ns for file in files] == stamps
    assert (tmp_path / "one" / "predictions.csv").read_bytes() == (tmp_path / "two" / "predictions.csv").read_bytes()


def test_prediction_keeps_nothing_and_arrays_are_seen_as_files(motion: Path, moving: Path, empty_cache: Path) -> None:
    file = moving.parent / "clips" / "test0.mp4"
    with open_video(file) as video:
        frames = video.frames(range(len(video)))
    classifier = load(motion, device="cpu")
    scores = classifier.predict(file).scores
    assert classifier.predict(frames).scores == scores
    for other in (frames.flip(0), torch.zeros_like(frames)):
        assert classifier.predict(other).scores != scores
    assert not empty_cache.exists()


def test_results_say_how_flow_was_found(changes: Path, motion: Path, tmp_path: Path, t3d: Call) -> None:
    found = []
    for run in (changes, motion):
        assert t3d("evaluate", run, "--output", tmp_path, "--workers", 0).code == 0
        metrics = json.loads((tmp_path / "metrics.json").read_text())
        flow = {name: value for name, value in metrics["protocol"].items() if name.startswith("flow")}
        found.append((flow, "opencv" in metrics["versions"]))
    assert found == [({}, False), ({"flow_method": "dis", "flow_bound": 0.08}, True)]
    assert "dis, up to 0.08 of the short side" in (tmp_path / "report.html").read_text()


def test_a_network_of_pictures_is_no_start_for_flow(trained: Path, moving: Path, tmp_path: Path, t3d: Call) -> None:
    outcome = t3d(
        *("train", moving, "--output", tmp_path / "run", *MICRO, "--max-steps", 1),
        *("--modality", "flow", "--init", trained),
    )
    assert outcome.code == 2
    assert "'stem.conv.weight' and 0 other tensors do not fit" in outcome.err
    assert "--modality rgb" in outcome.err


def test_no_room_for_flow_is_one_line_from_a_worker_too(
    motion: Path, tmp_path: Path, t3d: Call, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setenv("T3D_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(zipfile.ZipFile, "writestr", full)
    for workers in (0, 2):
        outcome = t3d("evaluate", motion, "--output", tmp_path / "out", "--workers", workers)
        assert outcome.code == 2
        line = outcome.err.splitlines()[-1]
        assert line.startswith(f"t3d: error: {tmp_path / 'cache' / 'flow'}")
        assert "flow cannot be kept (No space left on device)" in line
        assert "Traceback" not in outcome.err
