"""The one entry to every dataset: a table of formats, recognised by what lies in the folder."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Protocol, runtime_checkable

from t3d.data.formats.folder import fits_folder, load_folder
from t3d.data.formats.hmdb51 import fits_hmdb51, hmdb51_lists, load_hmdb51
from t3d.data.formats.kinetics import fits_kinetics, kinetics_lists, load_kinetics
from t3d.data.formats.table import fits_table, load_table
from t3d.data.formats.ucf101 import fits_ucf101, load_ucf101, ucf101_lists
from t3d.data.samples import Subset, VideoList
from t3d.errors import DataError


@runtime_checkable  # so that annotations can be checked at run time
class Reader(Protocol):
    """Lists the videos of one subset."""

    def __call__(self, root: Path, subset: Subset, *, split: int) -> VideoList:
        """Read the lists and find the videos."""


@dataclass(frozen=True, kw_only=True)
class Format:
    """How to recognise and read one layout of videos and lists."""

    looks_like: str
    fits: Callable[[Path], bool]
    read: Reader
    lists: Callable[[Path], dict[str, Path]] = lambda root: {}
    """Files that say what is where, by their places in the folder of the dataset."""


FORMATS: dict[str, Format] = {
    "csv": Format(looks_like="a CSV or Parquet file, or videos.csv", fits=fits_table, read=load_table),
    "ucf101": Format(looks_like="ucfTrainTestlist/", fits=fits_ucf101, read=load_ucf101, lists=ucf101_lists),
    "hmdb51": Format(looks_like="testTrainMulti_7030_splits/", fits=fits_hmdb51, read=load_hmdb51, lists=hmdb51_lists),
    "kinetics": Format(
        looks_like="train.csv with a column youtube_id", fits=fits_kinetics, read=load_kinetics, lists=kinetics_lists
    ),
    "folder": Format(looks_like="a folder of videos for each class", fits=fits_folder, read=load_folder),
}
"""In the order in which they are tried."""


def recognise(root: Path) -> str:
    """Name of the first format that fits.

    Raises:
        DataError: There is nothing at `root`, or none fits.
    """
    if not root.exists():
        raise DataError(f"{root}: no such file or folder; check the path of the dataset")
    for name, layout in FORMATS.items():
        if layout.fits(root):
            return name
    looked_for = "; ".join(layout.looks_like for layout in FORMATS.values())
    raise DataError(f"{root}: not recognised as a dataset; looked for: {looked_for}")


def load_videos(root: Path, *, subset: Subset, split: int = 1, format: str | None = None) -> VideoList:
    """List the videos of one subset of one split of a dataset.

    Args:
        root: The folder the dataset was unpacked into, or a CSV or Parquet file.
        subset: Which part.
        split: Number of the published split, or of the fold where none is published; from 1.
        format: Name in `FORMATS`; left out, it is recognised.

    Raises:
        NoSuchSubsetError: The dataset has no such part; validation can be carved from training.
        DataError: The dataset is not recognised, a list is malformed, or none of its videos is there.
    """
    if format is not None and format not in FORMATS:
        raise DataError(f"unknown format {format!r}; choose from {', '.join(FORMATS)}")
    if not root.exists():
        raise DataError(f"{root}: no such file or folder; check the path of the dataset")
    return with_missing_named(FORMATS[format or recognise(root)].read(root, subset, split=split), root)


def with_missing_named(videos: VideoList, root: Path) -> VideoList:
    """The same list, with a warning where some of its videos are not there.

    Raises:
        DataError: None of them is there, or the list is empty.
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
