"""A transfer that is killed, while features are computed or while the network learns, and what goes on from there."""

import json
import os
import shutil
import signal
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from program import TRANSFER, Call, finish, log_rows, start, wait_for_savings

LONG = (*TRANSFER, "--epochs", 2, "--min-steps", 0, "--dropout", 0.2)
NAMES = ("weights.safetensors", "last.safetensors", "matcher.safetensors")


def _assert_same_run(folder: Path, expected: Path) -> None:
    for name in NAMES:
        ours, theirs = load_file(folder / name), load_file(expected / name)
        assert ours.keys() == theirs.keys()
        assert [key for key in ours if not torch.equal(ours[key], theirs[key])] == []
    assert log_rows(folder) == log_rows(expected)
    done = [json.loads((run / "training.json").read_text()) for run in (folder, expected)]
    for name in ("steps", "epochs", "train_matching", "held_out_matching", "clips"):
        assert done[0][name] == done[1][name]


def test_killed_while_the_teacher_looks(
    dataset: Path, teachers: Path, t3d: Call, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The same command, typed again, finds what is done and gives the very file of one that was not killed."""
    flags = (*TRANSFER, "--teacher", f"{teachers}:convolution", "--max-steps", 3, "--workers", 2)
    calls = teachers.with_name("calls")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("T3D_CACHE", "whole-cache")
    assert t3d("transfer", dataset, "--output", "run", *flags).code == 0
    whole = shutil.move("run", "whole")
    num_windows = calls.stat().st_size

    monkeypatch.setenv("T3D_CACHE", "cache")
    calls.unlink()
    monkeypatch.setenv("T3D_TEST_KILL_AT", "12")
    killed = finish(start("transfer", dataset, "--output", "run", *flags))
    assert killed.code == -signal.SIGKILL, killed.err
    assert calls.stat().st_size == 12 < num_windows
    assert not Path("run", "weights.safetensors").exists()

    monkeypatch.delenv("T3D_TEST_KILL_AT")
    again = t3d("transfer", dataset, "--output", "run", *flags)
    assert again.code == 0, again.err
    assert num_windows <= calls.stat().st_size < num_windows + 12  # what was done is not done again
    _assert_same_run(Path("run"), Path(whole))
    assert Path("run", NAMES[0]).read_bytes() == Path(whole, NAMES[0]).read_bytes()


@pytest.mark.slow
def test_killed_while_the_network_learns(dataset: Path, teachers: Path, t3d: Call, tmp_path: Path) -> None:
    flags = (dataset, *LONG, "--teacher", f"{teachers}:convolution", "--live", "--hard-negatives")
    whole, run = tmp_path / "whole", tmp_path / "run"
    assert t3d("transfer", *flags, "--output", whole).code == 0
    process = start("transfer", *flags, "--output", run, "--checkpoint-steps", 1, "--workers", 2)
    wait_for_savings(process, run, 3)
    os.killpg(process.pid, signal.SIGKILL)
    assert finish(process).code == -signal.SIGKILL, "ended before it was killed"
    assert not (run / "training.json").exists()
    last = t3d("transfer", *flags, "--output", run, "--resume")
    assert last.code == 0, last.err
    _assert_same_run(run, whole)


def test_interrupted_transfer_says_how_to_go_on_and_only_that_way(dataset: Path, t3d: Call, tmp_path: Path) -> None:
    run, whole = tmp_path / "run", tmp_path / "whole"
    process = start("transfer", dataset, *LONG, "--output", run, "--checkpoint-steps", 1)
    wait_for_savings(process, run, 2)
    os.killpg(process.pid, signal.SIGINT)
    outcome = finish(process)
    assert outcome.code == 130
    assert outcome.err.splitlines()[-1].startswith("t3d: interrupted; --resume")
    flags = ("transfer", dataset, *LONG, "--output", run)
    weights = (run / "trainer" / "state.pt").read_bytes()
    for other, says in {
        (): "--resume goes on with it",
        ("--resume", "--lr", 0.01): "--lr 0.05, now it is 0.01",
        ("--resume", "--teacher-size", 48): "--teacher-size 32, now it is 48",
    }.items():
        refused = t3d(*flags, *other)
        assert refused.code == 2
        assert refused.err.count("\n") == 1, refused.err
        assert says in refused.err
    assert (run / "trainer" / "state.pt").read_bytes() == weights
    assert t3d(*flags, "--resume").code == 0
    assert t3d(*flags, "--output", whole).code == 0
    _assert_same_run(run, whole)


@pytest.fixture
def grown(dataset: Path, tmp_path: Path) -> Callable[[], Path]:
    """A folder of videos that gets one more."""
    videos = tmp_path / "videos"
    shutil.copytree(dataset.parent / "clips", videos)

    def grow() -> Path:
        shutil.copy(videos / "train0.mp4", videos / "train9.mp4")
        return videos

    return grow


def test_resuming_with_other_videos_is_refused(grown: Callable[[], Path], t3d: Call, tmp_path: Path) -> None:
    run, videos = tmp_path / "run", tmp_path / "videos"
    assert t3d("transfer", videos, *LONG, "--output", run).code == 0
    (run / "training.json").unlink()  # as if it had been interrupted
    assert grown() == videos
    refused = t3d("transfer", videos, *LONG, "--output", run, "--resume")
    assert refused.code == 2
    assert "was started with 11 training videos" in refused.err
    assert refused.err.count("\n") == 1
