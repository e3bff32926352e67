"""The table of dataset formats, recognising a format, and reading a dataset.

A new format is a file in this folder with `recognise` and `read`, and a row of `FORMATS`.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Protocol, runtime_checkable

from t3d.data.formats import folder, hmdb51, kinetics, table, ucf101
from t3d.data.lists import Row
from t3d.data.samples import Subset, VideoList
from t3d.errors import DataError


@runtime_checkable  # for run-time type checks
class Read(Protocol):
    """Lists the videos of one subset."""

    def __call__(self, root: Path, subset: Subset, *, split: int) -> VideoList:
        """Read the lists and find the videos."""


@dataclass(frozen=True, kw_only=True)
class Format:
    """One dataset format; texts are Markdown, for docs and messages."""

    recognised_by: str
    """Files by which it is recognised."""
    splits: str
    """Source of the splits."""
    groups: str
    """Source of the groups, which a split must not divide."""
    recognise: Callable[[Path], bool]
    """Whether the folder or file has this format."""
    read: Read
    list_files: Callable[[Path], dict[str, Path]] = lambda root: {}
    """Files besides videos that a copy of the dataset needs, by their paths in its folder."""
    rows: Callable[[Path], tuple[Path, list[Row]]] | None = None
    """For formats with one table of all videos and clips: its file and its rows, which have a column `path`."""


FORMATS: dict[str, Format] = {
    "csv": Format(
        recognised_by="a CSV or Parquet file, or `videos.csv` in the folder",
        splits="column `split`, else folds",
        groups="column `group`",
        recognise=table.recognise,
        read=table.read,
        rows=table.read_rows,
    ),
    "ucf101": Format(
        recognised_by="`ucfTrainTestlist/`",
        splits="official lists 1-3",
        groups="class and `gNN` of the name",
        recognise=ucf101.recognise,
        read=ucf101.read,
        list_files=ucf101.list_files,
    ),
    "hmdb51": Format(
        recognised_by="`testTrainMulti_7030_splits/`",
        splits="official lists 1-3",
        groups="the name before its six trailing tags",
        recognise=hmdb51.recognise,
        read=hmdb51.read,
        list_files=hmdb51.list_files,
    ),
    "kinetics": Format(
        recognised_by="a list with `youtube_id`, videos named `<id>_<start>_<end>.mp4`",
        splits="its train, validation and test lists",
        groups="the YouTube id",
        recognise=kinetics.recognise,
        read=kinetics.read,
        list_files=kinetics.list_files,
    ),
    "folder": Format(
        recognised_by="a folder of videos for each class",
        splits="`train/`, `val/`, `test/` above them, else folds",
        groups="names that end in `_gNN_cNN`, else one a file, with a warning",
        recognise=folder.recognise,
        read=folder.read,
    ),
}
"""In the order in which they are tried."""


def recognise(root: Path) -> str:
    """Name of the first format that fits.

    Raises:
        DataError: `root` does not exist, or no format fits.
    """
    _require(root)
    for name, form in FORMATS.items():
        if form.recognise(root):
            return name
    known = "; ".join(f"{name} ({form.recognised_by})" for name, form in FORMATS.items())
    raise DataError(f"{root}: not recognised as a dataset; known forms are: {known}".replace("`", ""))


def load_videos(root: Path, *, subset: Subset, split: int = 1, format: str | None = None) -> VideoList:
    """List the videos of one subset of one split of a dataset.

    Args:
        root: The folder the dataset was unpacked into, or a CSV or Parquet file.
        subset: Training, validation or test.
        split: Number of the published split, or of the fold if none is published; from 1.
        format: Name in `FORMATS`; by default it is recognised.

    Raises:
        NoSuchSubsetError: The dataset has no such subset; validation can be held out of training.
        DataError: The dataset is not recognised, a list is malformed, or all of its videos are missing.
    """
    if format is not None and format not in FORMATS:
        raise DataError(f"unknown format {format!r}; choose from {', '.join(FORMATS)}")
    _require(root)
    return warn_of_missing(FORMATS[format or recognise(root)].read(root, subset, split=split), root)


def warn_of_missing(videos: VideoList, root: Path) -> VideoList:
    """Add a warning to a list if some of its videos are missing.

    Raises:
        DataError: All of them are missing, or the list is empty.
    """
    if videos.samples and videos.missing:
        total = len(videos.samples) + len(videos.missing)
        warning = f"{len(videos.missing)} of {total} listed videos are not there, the first {videos.missing[0]}"
        return replace(videos, warnings=(*videos.warnings, warning))
    if videos.missing:
        raise DataError(
            f"{root}: none of the {len(videos.missing)} videos of {videos.split} is there, the first would be "
            f"{videos.missing[0]}; unpack the videos there"
        )
    if not videos.samples:
        raise DataError(f"{root}: no videos in {videos.split}; check the lists and folders")
    return videos


def _require(root: Path) -> None:
    if not root.exists():
        raise DataError(f"{root}: no such file or folder; check the path of the dataset")
