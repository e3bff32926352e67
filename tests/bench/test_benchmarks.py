"""The command line of the benchmarks: every kind makes its record; nothing is timed."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch

from benchmarks import growth, infer, int8_accuracy, train
from benchmarks.__main__ import main
from benchmarks.agreement import Agreement
from benchmarks.literal import LITERAL_NETWORKS
from instant import LIMITS, Instant
from t3d.bench import experiments
from t3d.video.encode import write_video

SMALL = ("--arch", "t3d_tiny", "--crop-size", "32", "--batch-size", "2", "--rounds", "2")


@pytest.fixture(autouse=True)
def instant(monkeypatch: pytest.MonkeyPatch) -> Instant:
    measure = Instant(run=False)
    monkeypatch.setattr(experiments, "measure", measure)
    monkeypatch.setattr(experiments, "measure_limits", lambda **_: LIMITS)
    monkeypatch.setitem(LITERAL_NETWORKS, "t3d_tiny", ((1, 1, 1, 1), ((1, 3), (1, 3), (1, 3))))  # any, but small
    monkeypatch.setattr(train, "agreement", lambda arch, shape, *, exact_shape: Agreement(notes=["the same"]))
    return measure


def _record(*arguments: object, output: Path) -> dict[str, Any]:
    with pytest.raises(SystemExit) as ended:
        main([str(argument) for argument in (*arguments, "--output", output)])
    assert ended.value.code == 0
    record: dict[str, Any] = json.loads((output / f"{arguments[0]}.json").read_text())
    assert (output / f"{arguments[0]}.md").exists()
    assert record["command"].startswith(f"python -m benchmarks {arguments[0]}")
    return record


def test_training_is_set_against_the_literal_network(tmp_path: Path, instant: Instant) -> None:
    steps, memory = _record("train", *SMALL, output=tmp_path)["tables"]
    assert instant.calls[0][:2] == ["literal", "accelerated"]
    assert instant.calls[1][0] == "literal"
    assert "2 x 3 x 32 x 32 x 32" in memory["title"]
    assert all(row["flops"] > 0 for row in steps["rows"])
    assert steps["notes"] == ["the same"]
    assert steps["targets"] == []  # of other clips


def test_targets_belong_to_their_network_and_clips(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, instant: Instant
) -> None:
    monkeypatch.setattr(train, "_AIMED_AT", (2, 3, 16, 32, 32))
    monkeypatch.setitem(train._TIMES_FASTER, "t3d_tiny", (1.3,))
    (steps, _) = _record("train", *SMALL, output=tmp_path)["tables"]
    assert [(target["bound"], target["reached"]) for target in steps["targets"]] == [(1.3, 0.5)]
    monkeypatch.setattr(infer, "_AIMED_AT", (2, 3, 16, 32, 32))
    monkeypatch.setitem(infer._TIMES_FASTER, "t3d_tiny", {"float32": 2.5})
    (scoring,) = _record("infer", *SMALL, output=tmp_path)["tables"]
    assert instant.calls[-1][:2] == ["literal", "PyTorch"]
    assert [(target["bound"], target["reached"]) for target in scoring["targets"]] == [(2.5, 0.5)]


def test_every_trick_is_a_variant(tmp_path: Path, instant: Instant) -> None:
    _record("tricks", *SMALL, output=tmp_path)
    assert instant.calls[0][0] == "literal"
    assert len(instant.calls[0]) == 9


def test_startup_is_judged_by_seconds(tmp_path: Path) -> None:
    record = _record("startup", "--rounds", 1, output=tmp_path)
    assert record["limits"] is None
    (table,) = record["tables"]
    assert {target["what"]: target["reached"] for target in table["targets"]} == {
        "python -c 'import t3d'": 2.0,
        "t3d --help": 3.0,
    }


def test_waiting_is_measured_alone_and_beside_others(tmp_path: Path, instant: Instant) -> None:
    alone, beside = _record("waiting", "--rounds", 1, "--threads", 2, output=tmp_path)["tables"]
    assert "2 threads" in alone["title"]
    assert "busy" in beside["title"]
    assert instant.calls == [["default", "OMP_WAIT_POLICY=passive", "OMP_NUM_THREADS=1"]] * 2


def test_growth_is_fitted_and_drawn(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(growth, "AXES", {"frames": (16, 20, 24)})
    monkeypatch.setattr(growth, "NUM_VIDEOS", (1, 2))
    tables = _record("growth", *SMALL, output=tmp_path)["tables"]
    assert [table["title"] for table in tables] == [
        *("Forward pass against frames", "Training step against frames", "Evaluation against videos"),
    ]
    assert sorted(path.name for path in tmp_path.glob("*.png")) == [
        *("growth-t3d_tiny-frames.png", "growth-t3d_tiny-videos.png"),
    ]
    assert tables[0]["time"]["exponent"] > 0
    assert tables[-1]["time"] is None  # of two sizes


def test_short_videos_are_not_loaded(tmp_path: Path, instant: Instant) -> None:
    for name in ("long.mp4", "below/long.mp4", "short.mp4"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        frames = torch.zeros(8 if name == "short.mp4" else 64, 32, 32, 3, dtype=torch.uint8)
        write_video(tmp_path / name, frames)
    single, epochs = _record("load", tmp_path, "--rounds", 1, output=tmp_path / "out")["tables"]
    assert "2 videos" in single["notes"][0]
    assert "8 clips" in epochs["title"]
    assert len(instant.calls) == 2


def test_tables_of_values_are_recorded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("benchmarks.coding_error.VIDEOS_EACH", 0)
    monkeypatch.setattr("benchmarks.coding_error.draw_videos", lambda count: [torch.zeros(31, 64, 64, 3).byte()])
    (table,) = _record("coding-error", output=tmp_path)["tables"]
    assert [row["crf"] for row in table["rows"]] == [18, 6]
    monkeypatch.setattr("benchmarks.prepared_forms.STRIDES", (1,))
    monkeypatch.setattr("benchmarks.prepared_forms._COLUMNS", {"form": "", "stride 1, ms": ".1f", "difference": ".1f"})
    video = tmp_path / "video.mp4"
    write_video(video, torch.randint(256, (34, 64, 64, 3)).byte())
    (table,) = _record("prepared-forms", video, "--rounds", 1, output=tmp_path)["tables"]
    assert all(row["stride 1, ms"] > 0 for row in table["rows"])


def test_int8_is_compared_video_by_video(tmp_path: Path, trained: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The exported weights are scored by another command; here the run itself stands for them."""
    commands: list[list[str]] = []

    def t3d(arguments: list[str]) -> None:
        commands.append(arguments)
        folder = Path(arguments[-1])
        if arguments[0] == "evaluate":
            folder.mkdir()
            protocol = {"engine": "torch", "precision": folder.name}
            metrics = {"protocol": protocol, "video": {"top1": 0.5}, "training": {"command": "t3d train"}}
            (folder / "metrics.json").write_text(json.dumps(metrics))
            scores = "0.9,0.1" if folder.name == "float32" else "0.1,0.9"
            head = "video,label,predicted,correct,num_views,views_correct,tag,error,score:a,score:b"
            (folder / "predictions.csv").write_text(f"{head}\nv,a,a,True,1,1,,,{scores}\n")

    monkeypatch.setattr(int8_accuracy, "_t3d", t3d)
    (table,) = _record("int8-accuracy", trained, output=tmp_path)["tables"]
    assert [command[0] for command in commands] == ["export", "evaluate", "evaluate"]
    assert [row["predicted otherwise"] for row in table["rows"]] == [0, 1]


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("infer", "--compile"), "--compile"),
        (("startup", "--arch", "t3d_tiny"), "--arch"),
        (("load", "--accelerator", "cpu"), "--accelerator"),
        (("train", "videos"), "videos"),
        (("load", "nowhere"), "nowhere"),
        (("optical-flow",), "VIDEO"),
        (("train", "--arch", "t3d_12"), "t3d_12"),
        (("growth", "--rounds", "0"), "--rounds 0"),
    ],
)
def test_bad_input_is_one_line(
    arguments: tuple[str, ...], says: str, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    with pytest.raises(SystemExit) as ended:
        main([*arguments])
    assert ended.value.code == 2
    (line,) = [line for line in capsys.readouterr().err.splitlines() if line.startswith("benchmarks: error")]
    assert says in line
