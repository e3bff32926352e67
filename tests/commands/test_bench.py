import json
from pathlib import Path
from typing import Any

import pytest
import torch

from arms import LIMITS, Instant
from program import Call
from t3d.bench import growth, infer, load, startup, train, transfer
from t3d.bench.limits import Limits
from t3d.bench.rounds import Arm, Measured
from t3d.commands import bench as bench_kinds
from t3d.video.encode import write_video

SMALL = ("--arch", "t3d_tiny", "--crop-size", 32, "--batch-size", 2, "--rounds", 2, "--accelerator", "cpu")


@pytest.fixture(autouse=True)
def instant(monkeypatch: pytest.MonkeyPatch) -> Instant:
    """Nothing is timed, and no process is started."""
    arms = Instant()
    for module in (growth, infer, load, startup, train, transfer):
        monkeypatch.setattr(module, "measure", arms)

    def limits(*, threads: int, device: str) -> Limits:
        return LIMITS

    monkeypatch.setattr(bench_kinds, "measure_limits", limits)
    monkeypatch.setattr(infer, "_ENGINE_WAYS", ())  # they are not built here
    return arms


def test_a_document_of_tables_is_printed_and_written(t3d: Call, tmp_path: Path) -> None:
    outcome = t3d("bench", "train", *SMALL, "--output", tmp_path / "new", "--threads", 3)
    assert outcome.code == 0
    assert outcome.out == (tmp_path / "new" / "train.md").read_text()
    document = json.loads((tmp_path / "new" / "train.json").read_text())
    assert document["kind"] == "train"
    assert document["command"].startswith("t3d bench train --arch t3d_tiny")
    assert document["machine"]["threads"] == 3
    assert document["limits"]["product"] == {"float32": 1e9, "bf16": 4e9}
    steps, memory = document["tables"]
    assert [row["seconds"] for row in steps["rows"]] == [[number] * 2 for number in (1.0, 2.0, 3.0, 4.0)]
    assert [row["memory_ratio"] for row in memory["rows"]] == [1.0, 2.0, 3.0]
    assert "2 x 3 x 16 x 32 x 32" in steps["title"]
    assert sorted(path.name for path in (tmp_path / "new").iterdir()) == ["train.json", "train.md"]


def test_inference_is_of_one_clip_and_of_four(t3d: Call) -> None:
    document = _json(t3d, "bench", "infer", "--arch", "t3d_tiny", "--crop-size", 32, "--rounds", 1)
    assert [table["title"].partition("of ")[2][:10] for table in document["tables"]] == ["1 x 3 x 16", "4 x 3 x 16"]
    assert all(row["peak_bytes"] is None for table in document["tables"] for row in table["rows"])


def test_startup_needs_no_network(t3d: Call, instant: Instant) -> None:
    document = _json(t3d, "bench", "startup", "--rounds", 1)
    assert document["limits"] is None
    assert len(document["tables"]) == 1
    assert len(instant.calls) == 1


def test_growth_is_drawn(t3d: Call, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(growth, "AXES", {"frames": (16, 20, 24), "batch": (2, 3, 4)})
    monkeypatch.setattr(growth, "NUM_VIDEOS", (1, 2))
    document = _json(t3d, "bench", "growth", *SMALL, "--output", tmp_path)
    assert [table["title"] for table in document["tables"]] == [
        *("Forward pass against frames", "Training step against frames"),
        *("Forward pass against batch", "Training step against batch", "Evaluation against videos"),
    ]
    assert sorted(path.name for path in tmp_path.glob("*.png")) == [
        f"growth-t3d_tiny-{axis}.png" for axis in ("batch", "frames", "videos")
    ]
    assert document["tables"][0]["time"]["exponent"] > 0
    assert document["tables"][-1]["time"] is None


def test_a_folder_of_videos_is_loaded(t3d: Call, instant: Instant, tmp_path: Path) -> None:
    for name in ("long.mp4", "below/long.mp4", "short.mp4"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        frames = torch.zeros(8 if name == "short.mp4" else 64, 32, 32, 3, dtype=torch.uint8)
        write_video(tmp_path / name, frames)
    document = _json(t3d, "bench", "load", tmp_path, "--rounds", 1)
    assert document["machine"]["threads"] == 1
    assert "2 videos" in document["tables"][0]["notes"][0]  # the short one has no clip
    assert len(instant.calls) == 2


def test_an_arm_that_fails_is_a_row_that_says_why(t3d: Call, monkeypatch: pytest.MonkeyPatch) -> None:
    def failing(arms: list[Arm], **_: object) -> list[Measured]:
        return [Measured(name=arm.name, error="not installed; install it") for arm in arms]

    monkeypatch.setattr(infer, "measure", failing)
    outcome = t3d("bench", "infer", *SMALL)
    assert outcome.code == 0
    assert "| PyTorch (folded) | not installed; install it |" in outcome.out


@pytest.mark.parametrize(
    ("flags", "says"),
    [
        (("train", "--arch", "t3d_12"), "unknown arch 't3d_12'"),
        (("train", "--rounds", 0), "--rounds 0 must be at least 1"),
        (("infer", "--threads", 0), "--threads 0 must be at least 1"),
        (("infer", "--compile"), "--compile is for t3d bench train, not for infer"),
        (("startup", "--arch", "t3d_tiny"), "--arch is for t3d bench train, infer, growth, transfer, not for startup"),
        (("load", "--accelerator", "cpu"), "--accelerator is for t3d bench train, infer, growth, not for load"),
        (("train", "videos"), "videos: only t3d bench load takes videos"),
        (("load", "nowhere"), "nowhere: no such folder"),
        (("train", "--accelerator", "cuda"), "--accelerator cuda: no CUDA device is available"),
        (("train", "--arch", "t3d_tiny", "--crop-size", 8), "clips of 16 x 8 x 8 (T x H x W) are too small"),
        (("train", "--arch", "t3d_tiny", "--crop-size", 32, "--batch-size", 1), "leave t3d_tiny one value a channel"),
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


def test_unknown_kind_is_answered_with_all(t3d: Call) -> None:
    outcome = t3d("bench", "trian")
    assert outcome.code == 2
    assert "Traceback" not in outcome.err
    assert "train" in outcome.err


def _json(t3d: Call, *arguments: object) -> dict[str, Any]:
    outcome = t3d(*arguments, "--json")
    assert outcome.code == 0, outcome.err
    document: dict[str, Any] = json.loads(outcome.out)
    return document
