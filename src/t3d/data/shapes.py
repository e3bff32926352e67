"""The built-in dataset of temporal shapes: H.264 files and a list, rendered once.

`t3d.data.shape_frames` draws the frames; `t3d.data.formats.table` reads the list.
"""

import csv
import hashlib
import json
import shutil
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path

import torch

from t3d.data.shape_frames import EVENT_FRACTIONS, SHAPE_CLASSES, EventRange, draw_shape_video, shape_frames
from t3d.errors import DataError
from t3d.video.encode import write_video
from t3d.workers import process_map

LIST_NAME = "videos.csv"
_RECIPE_NAME = "shapes.json"
_DRAWING_VERSION = 2  # increase it when pixels change, so that older folders are rendered again
_CRF = 6  # with higher values the error grows along the video and reveals the direction of time


@dataclass(frozen=True, kw_only=True)
class _ShapeSet:
    """Parameters of a rendering; equal values give equal files."""

    seed: int
    num_train_per_class: int
    num_test_per_class: int
    num_frames: int
    edge: int

    def __post_init__(self) -> None:
        if self.num_frames < 4 or self.edge < 16 or self.edge % 2:
            raise DataError(
                f"num_frames {self.num_frames} must be at least 4 and edge {self.edge} an even number of at least 16"
            )
        if min(self.num_train_per_class, self.num_test_per_class) < 1:
            raise DataError("num_train_per_class and num_test_per_class must both be at least 1")


def render_shapes(
    root: Path,
    *,
    seed: int = 0,
    num_train_per_class: int = 99,
    num_test_per_class: int = 24,
    num_frames: int = 31,
    edge: int = 64,
    num_workers: int = 0,
    progress: Callable[[int, int], None] | None = None,
) -> Path:
    """Render the temporal shapes into a folder, unless it contains them already.

    Files are written to a folder beside `root` that is renamed at the end, so an interrupted rendering is never taken
    for a complete one, and continues where it stopped. Not safe for two processes at once.

    Args:
        root: The folder to create, or an older rendering; parents are created.
        seed: Of all random parameters; equal arguments give equal files.
        num_train_per_class: Training videos of each of the 12 classes, a third of each event range.
        num_test_per_class: Test videos of each class.
        num_frames: Length of every video; 31 is the span of 16 frames at stride 2, so a clip is the whole video.
        edge: Height and width in pixels, even.
        num_workers: Processes that draw and encode, which changes no file; 0 works in this one.
        progress: Called with (done, total) after every video.

    Returns:
        `root`, which contains `videos.csv` with columns path, label, split, group and tag.

    Raises:
        DataError: `root` contains something else; use another folder.
    """
    shapes = _ShapeSet(
        seed=seed,
        num_train_per_class=num_train_per_class,
        num_test_per_class=num_test_per_class,
        num_frames=num_frames,
        edge=edge,
    )
    recipe = json.dumps({"version": _DRAWING_VERSION, **asdict(shapes)}, indent=1)
    if not _holds(root, recipe):
        _check_replaceable(root)
        unfinished = _start(root, recipe)
        _render_all(unfinished, shapes, num_workers, progress)
        shutil.rmtree(root, ignore_errors=True)
        unfinished.rename(root)
    return root


def _holds(root: Path, recipe: str) -> bool:
    path = root / _RECIPE_NAME
    return path.is_file() and path.read_text() == recipe


def _check_replaceable(root: Path) -> None:
    ours = (root / _RECIPE_NAME).is_file()
    if root.exists() and not ours and (root.is_file() or any(root.iterdir())):
        raise DataError(f"{root}: not a folder of rendered shapes; give an empty or new folder to render into")


def _start(root: Path, recipe: str) -> Path:
    """The unfinished folder: that of an interrupted rendering of the same shapes, or an empty one."""
    unfinished = root.with_name(f".{root.name}.partial")
    if not _holds(unfinished, recipe):
        shutil.rmtree(unfinished, ignore_errors=True)
        unfinished.mkdir(parents=True)
        (unfinished / _RECIPE_NAME).write_text(recipe)
    return unfinished


def _render_all(folder: Path, shapes: _ShapeSet, num_workers: int, progress: Callable[[int, int], None] | None) -> None:
    rows = list(_rows(shapes))
    with closing(process_map(partial(_render, folder, shapes), rows, num_workers=num_workers)) as rendered:
        for done, _ in enumerate(rendered, start=1):
            if progress is not None:
                progress(done, len(rows))
    _write_list(folder / LIST_NAME, rows)


def _rows(shapes: _ShapeSet) -> Iterator[dict[str, str]]:
    ranges = list(EVENT_FRACTIONS)
    for split, count in (("train", shapes.num_train_per_class), ("test", shapes.num_test_per_class)):
        for action in SHAPE_CLASSES:
            for index in range(count):
                name = f"{split}/{action}/{index:04d}"
                tag = ranges[index % len(ranges)]
                yield {"path": f"{name}.mp4", "label": action, "split": split, "group": name, "tag": tag}


def _render(folder: Path, shapes: _ShapeSet, row: dict[str, str]) -> None:
    path = folder / row["path"]
    if path.exists():
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    event_range: EventRange = row["tag"]  # type: ignore[assignment]
    video = draw_shape_video(event_range, _generator(shapes.seed, row["group"]))
    write_video(path, shape_frames(row["label"], video, num_frames=shapes.num_frames, edge=shapes.edge), crf=_CRF)


def _generator(seed: int, group: str) -> torch.Generator:
    """The generator of one video, so that videos are independent of each other."""
    digest = hashlib.sha256(f"{seed}/{group}".encode()).digest()
    return torch.Generator().manual_seed(int.from_bytes(digest[:8], "big") >> 1)


def _write_list(path: Path, rows: list[dict[str, str]]) -> None:
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, fieldnames=list(rows[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
