"""The program as a user calls it, and a dataset small enough to train on within a second."""

import csv
import os
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch

from t3d.video.encode import write_video

MICRO = (
    *("--num-frames", "4", "--frame-stride", "1", "--resize", "32", "--crop-size", "32", "--keep-last-plane"),
    *("--batch-size", "2", "--workers", "0", "--accelerator", "cpu"),
)
NUM_TRAIN, NUM_TEST = 8, 5


@dataclass(frozen=True)
class Outcome:
    """What a command left behind."""

    code: int
    out: str
    err: str


Call = Callable[..., Outcome]


def write_dataset(root: Path) -> Path:
    """Eight training and five test videos of two classes, each its own group, listed in `videos.csv`."""
    rows = []
    for split, count in (("train", NUM_TRAIN), ("test", NUM_TEST)):
        for index in range(count):
            label = "ab"[index % 2]
            path = root / "clips" / f"{split}{index}.mp4"
            path.parent.mkdir(parents=True, exist_ok=True)
            write_video(path, _frames(8 + index, left_is_bright=label == "a"))
            name = path.relative_to(root).as_posix()
            rows.append({"path": name, "label": label, "split": split, "group": path.stem})
    return write_list(root / "videos.csv", rows)


def write_list(path: Path, rows: Sequence[dict[str, str]]) -> Path:
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, fieldnames=list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    return path


def _frames(length: int, *, left_is_bright: bool) -> torch.Tensor:
    frames = torch.full((length, 32, 48, 3), 60, dtype=torch.uint8)
    frames[:, :, slice(None, 24) if left_is_bright else slice(24, None)] = 200
    return frames + torch.arange(length, dtype=torch.uint8)[:, None, None, None]


def start(*arguments: object, launcher: Sequence[str] = ()) -> "subprocess.Popen[str]":
    """Start the installed program as a process of its own, with one thread and no trace of an outer launcher."""
    program = [str(Path(sys.executable).with_name("t3d"))]
    outer = ("RANK", "LOCAL_RANK", "WORLD_SIZE", "NODE_RANK", "MASTER_ADDR", "MASTER_PORT")
    environment = {name: value for name, value in os.environ.items() if name not in outer}
    return subprocess.Popen(
        [*(launcher or program), *map(str, arguments)],
        env={**environment, "OMP_NUM_THREADS": "1", "COLUMNS": "200"},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


def finish(process: "subprocess.Popen[str]") -> Outcome:
    """Wait for a started program."""
    out, err = process.communicate(timeout=240)
    return Outcome(process.returncode, out, err)
