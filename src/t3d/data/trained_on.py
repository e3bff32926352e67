"""The list of training videos of a run: stored beside the weights, for resuming and for leak checks."""

import csv
from pathlib import Path

from t3d.data.reencoded import Originals
from t3d.data.samples import UNLABELLED, Sample, VideoList
from t3d.errors import ConfigError, DataError
from t3d.files import write_csv

LIST_NAME = "trained_on.csv"


def write_trained_on(folder: Path, train: VideoList) -> None:
    """Write path, label and group of every training video."""
    write_csv(folder / LIST_NAME, _rows(train))


def check_same_videos(folder: Path, train: VideoList) -> None:
    """Refuse to resume a run with other videos.

    Raises:
        ConfigError: The lists differ.
    """
    before = _read(folder)
    now = [tuple(row.values()) for row in _rows(train)]
    if before is not None and before != now:
        raise ConfigError(
            f"{folder}: was started with {len(before)} training videos, now there are {len(now)} or other ones; "
            "restore the dataset, or start anew with --overwrite"
        )


def overlap_warning(folder: Path, videos: VideoList) -> str:
    """Warn of test videos, or groups of the same dataset, that were trained on; empty if none or unknown."""
    seen = _seen(folder, videos)
    if not seen:
        return ""
    return (
        f"{len(seen)} of {len(videos.samples)} videos were trained on, or share a group with videos that were, first "
        f"{seen[0].name}: the accuracy is too high"
    )


def check_held_out(folder: Path, videos: VideoList) -> None:
    """Refuse held-out videos that the run was trained on, because the dataset has changed.

    Raises:
        DataError: A video, or another of its group, was trained on.
    """
    seen = _seen(folder, videos)
    if seen:
        raise DataError(
            f"{folder}: {seen[0].name} would be a validation video today, but it, or one of its group, was trained on "
            f"({LIST_NAME}), for the dataset has changed since; restore it, or train again"
        )


def _seen(folder: Path, videos: VideoList) -> list[Sample]:
    """Videos that were trained on (prepared or not), or whose group in the same dataset was."""
    originals = Originals()
    trained = [(Path(path), originals.of(Path(path)), group) for path, _, group in _read(folder) or []]
    home = (videos.root if videos.root.is_dir() else videos.root.parent).resolve()
    source = originals.of_dataset(home)
    groups = {group for path, first, group in trained if path.is_relative_to(home) or first.is_relative_to(source)}
    paths = {first for _, first, _ in trained}
    return [
        sample for sample in videos.samples if originals.of(sample.path.resolve()) in paths or sample.group in groups
    ]


def _rows(train: VideoList) -> list[dict[str, str]]:
    return [
        {"path": str(sample.path.resolve()), "label": _label(sample, train), "group": sample.group}
        for sample in train.samples
    ]


def _label(sample: Sample, train: VideoList) -> str:
    return "" if sample.label == UNLABELLED else train.labels[sample.label]


def _read(folder: Path) -> list[tuple[str, ...]] | None:
    path = folder / LIST_NAME
    if not path.exists():
        return None
    with path.open(newline="", encoding="utf-8") as file:
        return [tuple(row) for row in list(csv.reader(file))[1:]]
