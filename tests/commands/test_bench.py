import json
from pathlib import Path

import pytest
import torch

from instant import LIMITS, Instant
from program import Call
from t3d.bench import experiments

SMALL = ("--arch", "t3d_tiny", "--crop-size", 32, "--batch-size", 2, "--rounds", 2, "--accelerator", "cpu")


@pytest.fixture(autouse=True)
def instant(monkeypatch: pytest.MonkeyPatch) -> Instant:
    """Nothing is timed, and no process is started."""
    measure = Instant(run=False)
    monkeypatch.setattr(experiments, "measure", measure)
    monkeypatch.setattr(experiments, "measure_limits", lambda **_: LIMITS)
    return measure


def test_settings_of_training_are_printed_and_written(t3d: Call, tmp_path: Path, instant: Instant) -> None:
    outcome = t3d("bench", "train", *SMALL, "--output", tmp_path / "new", "--threads", 3, "--compile")
    assert outcome.code == 0
    assert outcome.out == (tmp_path / "new" / "train.md").read_text()
    assert "table 1 of 1" in outcome.err
    document = json.loads((tmp_path / "new" / "train.json").read_text())
    assert document["kind"] == "train"
    assert document["command"].startswith("t3d bench train --arch t3d_tiny")
    assert document["machine"]["threads"] == 3
    assert document["limits"]["product"] == {"float32": 1e9, "bf16": 4e9}
    (table,) = document["tables"]
    assert "2 x 3 x 16 x 32 x 32" in table["title"]
    assert [row["seconds"] for row in table["rows"]][:3] == [[1.0] * 2, [2.0] * 2, [3.0] * 2]
    assert table["rows"][2]["memory_ratio"] == 3.0
    assert instant.calls[0][:2] == ["plain", "accelerated"]
    assert instant.calls[0][-1].endswith("compiled")
    assert sorted(path.name for path in (tmp_path / "new").iterdir()) == ["train.json", "train.md"]


def test_scoring_is_of_one_clip_and_of_four(t3d: Call) -> None:
    outcome = t3d("bench", "infer", "--arch", "t3d_tiny", "--crop-size", 32, "--rounds", 1, "--json")
    tables = json.loads(outcome.out)["tables"]
    assert [table["title"].partition("of ")[2][:10] for table in tables] == ["1 x 3 x 16", "4 x 3 x 16"]
    assert all(row["peak_bytes"] is None for table in tables for row in table["rows"])


def test_a_run_is_scored_on_its_own_clips(t3d: Call, trained: Path) -> None:
    outcome = t3d("bench", "infer", trained, "--batch-size", 3, "--json")
    (table,) = json.loads(outcome.out)["tables"]
    assert str(trained) in table["title"]
    assert "3 x 3 x 4 x 32 x 32" in table["title"]


@pytest.mark.parametrize(
    ("flags", "says"),
    [
        (("train", "--arch", "t3d_12"), "t3d_12"),
        (("train", "--rounds", 0), "--rounds 0"),
        (("infer", "--compile"), "--compile"),
        (("train", "runs/a"), "runs/a"),
        (("infer", "nowhere"), "nowhere"),
        (("infer", "runs/a", "--crop-size", 32), "--crop-size"),
        (("train", "--accelerator", "cuda"), "--accelerator cuda"),
        (("train", "--arch", "t3d_tiny", "--crop-size", 8), "16 x 8 x 8"),
        (("train", "--arch", "t3d_tiny", "--crop-size", 32, "--batch-size", 1), "--batch-size"),
    ],
)
def test_bad_input_is_one_line(flags: tuple[object, ...], says: str, t3d: Call, tmp_path: Path) -> None:
    if "cuda" in flags and torch.cuda.is_available():
        pytest.skip("there is a CUDA device")
    outcome = t3d("bench", *flags, "--output", tmp_path / "new")
    assert outcome.code == 2
    (line,) = [line for line in outcome.err.splitlines() if line.startswith("t3d: error")]
    assert says in line
    assert not list(tmp_path.glob("new/*"))
