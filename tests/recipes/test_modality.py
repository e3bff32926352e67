"""What the network sees is said once, at training; evaluation, prediction and old files follow the card."""

import csv
import json
from dataclasses import asdict
from pathlib import Path

import pytest

from program import MICRO, Call
from t3d import cli
from t3d.engine.checkpoints import ModelCard, read_weights
from t3d.video.spec import ClipSpec, PixelSpec


@pytest.fixture(scope="module")
def changes(dataset: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run that sees the change from each frame to the next."""
    folder = tmp_path_factory.mktemp("runs") / "changes"
    flags = ("--max-steps", "2", "--modality", "difference")
    with pytest.raises(SystemExit) as ended:
        cli.main(["train", str(dataset), "--output", str(folder), *MICRO, *flags])
    assert ended.value.code == 0
    return folder


def test_evaluation_and_prediction_see_differences(changes: Path, dataset: Path, tmp_path: Path, t3d: Call) -> None:
    assert read_weights(changes)[1].pixels.modality == "difference"
    assert t3d("evaluate", changes, "--output", tmp_path, "--workers", 0).code == 0
    with (tmp_path / "predictions.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    files = [dataset.parent / row["video"] for row in rows]
    answers = json.loads(t3d("predict", changes, *files, "--json", "--workers", 0).out)
    assert len(answers) == len(rows) > 0
    for answer, row in zip(answers, rows, strict=True):
        scores = {entry["label"]: entry["score"] for entry in answer["predictions"]}
        assert scores == {label: float(row[f"score:{label}"]) for label in "ab"}


def test_the_flag_changes_what_is_learnt(changes: Path, dataset: Path, tmp_path: Path, t3d: Call) -> None:
    pictures = tmp_path / "pictures"
    assert t3d("train", dataset, "--output", pictures, *MICRO, "--max-steps", 2).code == 0
    (differences, _), (plain, _) = read_weights(changes), read_weights(pictures)
    assert any((differences[name] != plain[name]).any() for name in plain)


def test_one_frame_is_refused_in_one_line(dataset: Path, tmp_path: Path, t3d: Call) -> None:
    outcome = t3d(
        *("train", dataset, "--output", tmp_path / "run", *MICRO, "--max-steps", 1),
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
