import csv
import json
import os
import shutil
import signal
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from program import MICRO, Call, finish, log_rows, start, wait_for_savings, write_dataset
from t3d import cli

LONG = (*MICRO, "--epochs", 6, "--min-steps", 0, "--ema-decay", 0.9, "--dropout", 0.2)  # 4 updates an epoch
FILES = ("weights.safetensors", "last.safetensors")


def _assert_same_weights(folder: Path, expected: Path) -> None:
    for name in FILES:
        ours, theirs = load_file(folder / name), load_file(expected / name)
        assert ours.keys() == theirs.keys()
        assert all(torch.equal(ours[key], theirs[key]) for key in ours)


@pytest.fixture(scope="module")
def uninterrupted(dataset: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("uninterrupted") / "run"
    with pytest.raises(SystemExit) as ended:
        cli.main(["train", str(dataset), "--output", str(folder), *map(str, LONG)])
    assert ended.value.code == 0
    return folder


@pytest.mark.slow
def test_run_killed_at_some_update_ends_in_the_same_weights(
    dataset: Path, uninterrupted: Path, t3d: Call, tmp_path: Path
) -> None:
    """The lock of the killed run is no lock."""
    flags = ("--output", tmp_path, *LONG, "--checkpoint-steps", 1)
    process = start("train", dataset, *flags, "--workers", 2)
    wait_for_savings(process, tmp_path, 5)
    os.killpg(process.pid, signal.SIGKILL)
    assert finish(process).code == -signal.SIGKILL, "ended before it was killed"
    assert (tmp_path / ".lock").exists()
    last = t3d("train", dataset, *flags, "--resume")
    assert last.code == 0, last.err
    assert not (tmp_path / ".lock").exists()
    _assert_same_weights(tmp_path, uninterrupted)
    done = [json.loads((folder / "training.json").read_text()) for folder in (tmp_path, uninterrupted)]
    assert [result["steps"] for result in done] == [24, 24]
    assert log_rows(tmp_path) == log_rows(uninterrupted)


def test_interrupted_run_says_one_line_and_goes_on(
    dataset: Path, uninterrupted: Path, t3d: Call, tmp_path: Path
) -> None:
    """SIGTERM to all processes, as clusters do; tests/stress_interrupts.py repeats it at random moments."""
    flags = ("--output", tmp_path, *LONG, "--workers", 2)
    process = start("train", dataset, *flags, "--checkpoint-steps", 1)
    wait_for_savings(process, tmp_path, 3)
    os.killpg(process.pid, signal.SIGTERM)
    outcome = finish(process)
    assert outcome.code == 130
    lines = [line for line in outcome.err.splitlines() if not line.startswith(("training ", "epoch "))]
    assert lines == ["t3d: interrupted; --resume goes on from the last saved update, if any"]
    last = t3d("train", dataset, *flags, "--resume")
    assert last.code == 0, last.err
    _assert_same_weights(tmp_path, uninterrupted)


def test_two_processes_train_and_report_once(dataset: Path, t3d: Call, tmp_path: Path) -> None:
    flags = ("--output", tmp_path, *MICRO, "--max-steps", 3, "--devices", 2, "--select-on", "validation")
    outcome = finish(start("train", dataset, *flags, launcher=[sys.executable, "-m", "t3d"]))
    assert outcome.code == 0, outcome.err
    assert outcome.out.count("3 updates") == 1
    assert all(line.startswith(("training ", "epoch ")) for line in outcome.err.splitlines()), outcome.err
    assert t3d("evaluate", tmp_path, "--workers", 0).code == 0


def test_bad_video_ends_all_processes_without_a_traceback(tmp_path: Path) -> None:
    data = write_dataset(tmp_path / "data")
    for index in range(8):
        (tmp_path / "data" / "clips" / f"train{index}.mp4").write_bytes(b"")
    flags = ("--output", tmp_path / "run", *MICRO, "--max-steps", 3, "--devices", 2)
    outcome = finish(start("train", data, *flags))
    assert outcome.code == 2
    assert "Traceback" not in outcome.err
    assert "--bad-videos skip" in outcome.err


def test_refused_folder_starts_no_second_process(dataset: Path, trained: Path, t3d: Call) -> None:
    outcome = t3d("train", dataset, "--output", trained, *MICRO, "--devices", 2)
    assert outcome.code == 2
    assert outcome.err.count("\n") == 1


def test_skipped_videos_are_listed(t3d: Call, tmp_path: Path) -> None:
    data = write_dataset(tmp_path / "data")
    (tmp_path / "data" / "clips" / "train3.mp4").write_bytes(b"no video")
    flags = ("--output", tmp_path / "run", *MICRO, "--resize", 64, "--crop-size", 64, "--max-steps", 4)
    stopped = t3d("train", data, *flags)
    assert stopped.code == 2
    assert "train3.mp4" in stopped.err
    outcome = t3d("train", data, *flags, "--bad-videos", "skip", "--overwrite")
    assert outcome.code == 0
    assert "skipped.csv" in outcome.err
    assert "train3.mp4" in (tmp_path / "run" / "skipped.csv").read_text()


def test_head_is_new_where_classes_differ(trained: Path, t3d: Call, tmp_path: Path) -> None:
    data = write_dataset(tmp_path / "data")
    data.write_text(data.read_text().replace(",a,", ",dog,"))
    outcome = t3d("train", data, "--output", tmp_path / "run", *MICRO, "--max-steps", 1, "--init", trained)
    assert outcome.code == 0
    assert "the head starts anew" in outcome.err
    model = json.loads((tmp_path / "run" / "config.json").read_text())["model"]
    assert model["labels"] == ["b", "dog"]
    assert model["training"]["lineage"][0]["file"] == str(trained / "weights.safetensors")


def test_initial_weights_are_those_of_the_file(dataset: Path, trained: Path, t3d: Call, tmp_path: Path) -> None:
    flags = ("--output", tmp_path, *MICRO, "--max-steps", 1, "--init", trained, "--lr", 0, "--ema-decay", "None")
    assert t3d("train", dataset, *flags).code == 0
    ours, theirs = (load_file(folder / "weights.safetensors") for folder in (tmp_path, trained))
    learnt = [key for key in ours if "running" not in key and "num_batches" not in key]
    assert all(torch.equal(ours[key], theirs[key]) for key in learnt)


def test_recorded_command_repeats_the_run(dataset: Path, t3d: Call, trained: Path) -> None:
    card = json.loads((trained / "config.json").read_text())["model"]
    assert card["training"]["command"].startswith(f"t3d train {dataset} --output {trained} --num-frames 4")


def test_overwrite_removes_what_the_old_run_left(dataset: Path, trained: Path, t3d: Call, tmp_path: Path) -> None:
    run = shutil.copytree(trained, tmp_path / "run")
    (run / "metrics.json").write_text("{}")
    assert t3d("train", dataset, "--output", run, *MICRO, "--max-steps", 1, "--overwrite").code == 0
    assert not (run / "metrics.json").exists()
    assert json.loads((run / "training.json").read_text())["steps"] == 1


def test_the_kept_epoch_is_named_with_its_accuracy(dataset: Path, t3d: Call, tmp_path: Path) -> None:
    flags = ("--select-on", "validation", "--validation-fraction", 0.4, "--max-steps", 6, "--workers", 0)
    outcome = t3d("train", dataset, "--output", tmp_path, *MICRO, *flags)
    assert outcome.code == 0, outcome.err
    with (tmp_path / "log.csv").open() as file:
        rows = list(csv.DictReader(file))
    order = sorted(rows, key=lambda row: (float(row["validation_top1"]), -float(row["validation_loss"])))
    summary = json.loads((tmp_path / "training.json").read_text())
    assert str(summary["kept_epoch"]) == order[-1]["epoch"]
    assert summary["validation_top1"] == float(order[-1]["validation_top1"])
    assert f"kept: epoch {summary['kept_epoch']}, validation top-1 {summary['validation_top1']:.1%}" in outcome.out
