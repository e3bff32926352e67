"""What prepared videos were made of, so that a video is known as the same in either form. Videos are not looked at."""

from collections.abc import Callable
from pathlib import Path

from t3d.data.manifest import read_description, read_manifest


class Originals:
    """Goes by what prepared datasets say of themselves, and reads each of them once.

    Paths are absolute, without links. What was prepared from prepared files is followed to the first original.
    """

    def __init__(self) -> None:
        self._homes: dict[Path, Path | None] = {}
        self._sources: dict[Path, dict[Path, Path]] = {}

    def of(self, video: Path) -> Path:
        """The file that this one was made of, or itself."""
        return _first(video, self._source_of_video)

    def of_dataset(self, folder: Path) -> Path:
        """The folder of the dataset that this one was made of, or itself."""
        return _first(folder, _source_of_dataset)

    def _source_of_video(self, video: Path) -> Path | None:
        home = self._home(video.parent)
        if home is None:
            return None
        if home not in self._sources:
            entries = read_manifest(home).items()
            self._sources[home] = {home / path: Path(entry.source) for path, entry in entries if entry is not None}
        return self._sources[home].get(video)

    def _home(self, folder: Path) -> Path | None:
        """The prepared dataset that a folder is of."""
        if folder not in self._homes:
            below = None if folder == folder.parent else self._home(folder.parent)
            self._homes[folder] = folder if read_description(folder) else below
        return self._homes[folder]


def _source_of_dataset(folder: Path) -> Path | None:
    said = read_description(folder)
    source = Path(said["settings"]["source"]) if said else None
    return source.parent if source is not None and source.is_file() else source


def _first(path: Path, source_of: Callable[[Path], Path | None]) -> Path:
    """Follow sources as far as they go; folders may have been prepared from each other in turn."""
    passed = {path}
    while (source := source_of(path)) is not None and source not in passed:
        passed.add(source)
        path = source
    return path
