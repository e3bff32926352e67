"""Prepared folders of `t3d data prepare`: description, manifest, and the originals of their videos."""

import json
from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from t3d.files import write_text

DESCRIPTION = "prepared.json"
"""File with the source and settings of a prepared folder; its presence marks the folder as prepared."""
_MANIFEST = "manifest.jsonl"
"""One JSON object per line for each file begun or done, so that an interrupted preparation can continue."""


@dataclass(frozen=True, kw_only=True)
class Entry:
    """One finished file of a prepared dataset."""

    path: str
    """In the prepared dataset, with forward slashes."""
    num_bytes: int
    num_frames: int
    source: str
    source_bytes: int
    source_modified_ns: int
    crf: int | None
    """crf of the encoder; None for an unchanged copy of the original."""
    error: str = ""
    """Why it is an unchanged copy; empty if it was re-encoded."""
    decodable: bool = True
    """Whether the original can be decoded."""

    def still_holds(self, folder: Path, source: Path) -> bool:
        """Whether the file exists and belongs to this original, and neither has changed since."""
        file = folder / self.path
        if self.source != str(source.resolve()) or not source.is_file() or not file.is_file():
            return False
        original = source.stat()
        unchanged = (self.source_bytes, self.source_modified_ns) == (original.st_size, original.st_mtime_ns)
        return unchanged and file.stat().st_size == self.num_bytes

    def line(self) -> str:
        """Its line of the manifest."""
        return json.dumps(asdict(self)) + "\n"


def read_manifest(folder: Path) -> dict[str, Entry | None]:
    """The last entry of each file, by path; None for an unfinished file."""
    return {row["path"]: _entry(row) for row in _rows(folder)}


def write_manifest(folder: Path, entries: Iterable[Entry]) -> None:
    """Replace the manifest."""
    write_text(folder / _MANIFEST, "".join(entry.line() for entry in entries))


def note_begun(folder: Path, path: str) -> None:
    """Add a file that is about to be written, so that an interrupted one can be removed."""
    _add(folder, json.dumps({"path": path}) + "\n")


def note_done(folder: Path, entry: Entry) -> None:
    """Add a finished file."""
    _add(folder, entry.line())


def read_description(folder: Path) -> dict[str, Any]:
    """Description of a prepared folder; empty for other folders."""
    try:
        content = json.loads((folder / DESCRIPTION).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return content if isinstance(content, dict) and isinstance(content.get("settings"), dict) else {}


class Originals:
    """Finds the originals of prepared videos and datasets; each description and manifest is read once.

    Paths are absolute, without links. Files prepared from prepared files are followed to the first original.
    """

    def __init__(self) -> None:
        self._homes: dict[Path, Path | None] = {}
        self._sources: dict[Path, dict[Path, Path]] = {}

    def of(self, video: Path) -> Path:
        """The original of a file, or the file itself."""
        return _first(video, self._source_of_video)

    def of_dataset(self, folder: Path) -> Path:
        """The folder of the original dataset, or the folder itself."""
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
        """The prepared dataset that a folder belongs to."""
        if folder not in self._homes:
            below = None if folder == folder.parent else self._home(folder.parent)
            self._homes[folder] = folder if read_description(folder) else below
        return self._homes[folder]


def _add(folder: Path, line: str) -> None:
    with (folder / _MANIFEST).open("a", encoding="utf-8") as file:
        file.write(line)


def _rows(folder: Path) -> Iterator[dict[str, Any]]:
    """Complete lines that name a file."""
    if not (folder / _MANIFEST).is_file():
        return
    for line in (folder / _MANIFEST).read_text(encoding="utf-8", errors="replace").splitlines():
        try:
            row = json.loads(line)
        except ValueError:
            continue
        if isinstance(row, dict) and "path" in row:
            yield row


def _entry(row: dict[str, Any]) -> Entry | None:
    try:
        return Entry(**row)
    except TypeError:
        return None


def _source_of_dataset(folder: Path) -> Path | None:
    description = read_description(folder)
    source = Path(description["settings"]["source"]) if description else None
    return source.parent if source is not None and source.is_file() else source


def _first(path: Path, source_of: Callable[[Path], Path | None]) -> Path:
    """Follow sources to the first original; cycles are possible."""
    passed = {path}
    while (source := source_of(path)) is not None and source not in passed:
        passed.add(source)
        path = source
    return path
