"""List folders, and find the files of listed videos."""

import os
from collections.abc import Callable, Iterable
from dataclasses import replace
from pathlib import Path

from t3d.data.samples import Sample
from t3d.errors import DataError

VIDEO_SUFFIXES = frozenset({".mp4", ".avi", ".mkv", ".webm", ".mov", ".gif", ".m4v", ".mpg", ".mpeg", ".wmv"})


def entries(folder: Path) -> list[str]:
    """Sorted names in a folder without hidden ones; empty if there is no such folder.

    Raises:
        DataError: The folder cannot be read.
    """
    try:
        return sorted(name for name in os.listdir(folder) if not name.startswith("."))  # noqa: PTH208
    except (FileNotFoundError, NotADirectoryError):
        return []
    except OSError as error:
        raise DataError(f"{folder}: cannot be read ({error.strerror}); check its permissions") from None


def videos_in(folder: Path) -> list[str]:
    """Sorted names of video files in a folder."""
    return [name for name in entries(folder) if Path(name).suffix.lower() in VIDEO_SUFFIXES]


def folders_in(folder: Path) -> list[str]:
    """Sorted names of folders in a folder, without hidden ones."""
    return [name for name in entries(folder) if (folder / name).is_dir()]


def find_videos(
    wanted: Iterable[Sample], places: Callable[[Sample], Iterable[Path]], *, any_suffix: bool = True
) -> tuple[tuple[Sample, ...], tuple[Path, ...]]:
    """Find the file of each sample; each folder is listed once.

    Args:
        wanted: Samples whose `path` is where the video should be; its last part is the file's name.
        places: The folders a sample's video may be in, best first.
        any_suffix: Accept a file with another suffix; many users convert AVI to MP4.

    Returns:
        The samples whose videos exist, and the paths of missing videos.
    """
    known = _Folders()
    present, missing = [], []
    for sample in wanted:
        paths = (known.find(place, sample.path.name, any_suffix=any_suffix) for place in places(sample))
        path = next((path for path in paths if path is not None), None)
        if path is None:
            missing.append(sample.path)
        else:
            present.append(replace(sample, path=path))
    return tuple(present), tuple(missing)


class _Folders:
    """Names in the folders listed so far."""

    def __init__(self) -> None:
        self._names: dict[Path, frozenset[str]] = {}
        self._by_stem: dict[Path, dict[str, str]] = {}

    def find(self, folder: Path, name: str, *, any_suffix: bool) -> Path | None:
        if folder not in self._names:
            self._names[folder] = frozenset(entries(folder))
            self._by_stem[folder] = {Path(video).stem: video for video in videos_in(folder)} if any_suffix else {}
        if name in self._names[folder]:
            return folder / name
        other = self._by_stem[folder].get(Path(name).stem)
        return None if other is None else folder / other
