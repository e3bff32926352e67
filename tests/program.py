"""The program as a user calls it, and a dataset small enough to train on within a second."""

import csv
import os
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch

from t3d.video.encode import write_video

MICRO = (
    *("--num-frames", "4", "--frame-stride", "1", "--resize", "32", "--crop-size", "32", "--keep-last-plane"),
    *("--batch-size", "2", "--workers", "0", "--accelerator", "cpu"),
)
FEW = ("--overrides", "blocks=[1,1,1,1]", "growth_rate=4", "stem_channels=4", "ttl_width=4")
"""Makes a T3D as small as one can be."""
TRANSFER = (
    *MICRO,
    *("--teacher", "colour_statistics", "--teacher-size", "32", "--pictures", "2"),
)
EXACT = ("--batch-size", "1")
"""Clips that are scored one by one have the same digits whatever is scored beside them."""
NUM_TRAIN, NUM_TEST = 8, 5

TEACHERS = '''
import os
import signal
from pathlib import Path

import torch
from torch import nn

from t3d.transfer.teachers import FrozenTeacher
from t3d.video.spec import PixelSpec


class Network(nn.Module):
    """Notes every call in a file, and kills the process at the call that T3D_TEST_KILL_AT names."""

    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(3, 8, 5, stride=4)
        self.norm = nn.BatchNorm2d(8)
        generator = torch.Generator().manual_seed(0)
        nn.init.normal_(self.conv.weight, generator=generator)
        nn.init.zeros_(self.conv.bias)
        nn.init.uniform_(self.norm.running_mean, generator=generator)
        nn.init.uniform_(self.norm.running_var, 1, 2, generator=generator)

    def forward(self, images):
        calls = Path(__file__).with_name("calls")
        with calls.open("a") as file:
            file.write("x")
        if calls.stat().st_size == int(os.environ.get("T3D_TEST_KILL_AT", 0)):
            os.kill(os.getpid(), signal.SIGKILL)
        return self.norm(self.conv(images)).relu()


def convolution():
    return FrozenTeacher(Network(), name="convolution", num_features=8, pixels=PixelSpec(resize=32, crop_size=32))


def wrongly_wide():
    return FrozenTeacher(Network(), name="wrong", num_features=9, pixels=PixelSpec(resize=32, crop_size=32))


def raises():
    raise RuntimeError("no weights\\nhere")


def nothing():
    return None


def bare():
    return nn.Identity()
'''
"""Teachers of a user's own; the file `calls` beside them grows by a byte at every call."""


@dataclass(frozen=True)
class Outcome:
    """What a command left behind."""

    code: int
    out: str
    err: str


Call = Callable[..., Outcome]


def bright_half(length: int, *, left_is_bright: bool) -> torch.Tensor:
    """Pictures of which one half is bright, and which all get a little brighter: nothing moves."""
    frames = torch.full((length, 32, 48, 3), 60, dtype=torch.uint8)
    frames[:, :, slice(None, 24) if left_is_bright else slice(24, None)] = 200
    return frames + torch.arange(length, dtype=torch.uint8)[:, None, None, None]


def drifting(length: int, *, left_is_bright: bool) -> torch.Tensor:
    """A soft texture that moves by a pixel a frame, to the right for one class and down for the other."""
    coarse = torch.rand((1, 3, 8, 12), generator=torch.Generator().manual_seed(0)) * 255
    texture = torch.nn.functional.interpolate(coarse, (32, 48), mode="bicubic").clamp(0, 255)[0].permute(1, 2, 0).byte()
    return torch.stack([texture.roll(index, dims=1 if left_is_bright else 0) for index in range(length)])


def write_dataset(root: Path, draw: Callable[..., torch.Tensor] = bright_half) -> Path:
    """Eight training and five test videos of two classes, each its own group, listed in `videos.csv`."""
    rows = []
    for split, count in (("train", NUM_TRAIN), ("test", NUM_TEST)):
        for index in range(count):
            label = "ab"[index % 2]
            path = root / "clips" / f"{split}{index}.mp4"
            path.parent.mkdir(parents=True, exist_ok=True)
            write_video(path, draw(8 + index, left_is_bright=label == "a"))
            name = path.relative_to(root).as_posix()
            rows.append({"path": name, "label": label, "split": split, "group": path.stem})
    return write_list(root / "videos.csv", rows)


def write_list(path: Path, rows: Sequence[dict[str, str]]) -> Path:
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, fieldnames=list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    return path


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


def wait_for_savings(process: "subprocess.Popen[str]", folder: Path, count: int) -> None:
    """Return once the trainer state has been written anew so many times, or the program has ended."""
    state, seen = folder / "trainer" / "state.pt", set()
    if state.exists():
        seen.add(state.stat().st_ino)
    count += len(seen)
    while len(seen) < count and process.poll() is None:
        if state.exists():
            seen.add((state.stat().st_mtime_ns, state.stat().st_ino))
        time.sleep(0.001)


def log_rows(folder: Path) -> list[dict[str, str]]:
    """The rows of a run's log, less what its computer's speed decides."""
    with (folder / "log.csv").open(newline="") as file:
        return [{name: cell for name, cell in row.items() if name != "seconds"} for row in csv.DictReader(file)]
