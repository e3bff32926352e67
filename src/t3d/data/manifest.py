"""What is known of each file of a prepared dataset: what it was made of, and whether that could be decoded.

A line is added when a file is begun, and one when it is done, so that an interrupted command goes on where it was; a
file whose last line is torn or missing is made again. Files are made elsewhere.
"""

import json
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from t3d.files import write_text

DESCRIPTION = "prepared.json"
"""What a folder says of itself: its source, and how it was prepared. Without it, it is no prepared dataset."""
_MANIFEST = "manifest.jsonl"


@dataclass(frozen=True, kw_only=True)
class Entry:
    """One file that is done."""

    path: str
    """In the prepared dataset."""
    num_bytes: int
    num_frames: int
    source: str
    source_bytes: int
    source_modified_ns: int
    crf: int | None
    """Of the encoder; None where the file is a copy of the original as it was."""
    error: str = ""
    """Why it is such a copy."""
    decodable: bool = True
    """Whether the original, at least, can be decoded."""

    def still_holds(self, folder: Path, source: Path) -> bool:
        """Whether the file is there, was made of this original, and that is as it was."""
        file = folder / self.path
        if self.source != str(source.resolve()) or not source.is_file() or not file.is_file():
            return False
        original = source.stat()
        unchanged = (self.source_bytes, self.source_modified_ns) == (original.st_size, original.st_mtime_ns)
        return unchanged and file.stat().st_size == self.num_bytes

    def line(self) -> str:
        """As the manifest has it."""
        return json.dumps(asdict(self)) + "\n"


def read_manifest(folder: Path) -> dict[str, Entry | None]:
    """The last that is known of each file, by its path; None of one that was begun only."""
    return {row["path"]: _entry(row) for row in _rows(folder)}


def write_manifest(folder: Path, entries: Iterable[Entry]) -> None:
    """Know of these files only."""
    write_text(folder / _MANIFEST, "".join(entry.line() for entry in entries))


def note_begun(folder: Path, path: str) -> None:
    """Say that a file is about to be written, so that it is known whose it is."""
    _add(folder, json.dumps({"path": path}) + "\n")


def note_done(folder: Path, entry: Entry) -> None:
    """Say what a file is."""
    _add(folder, entry.line())


def read_description(folder: Path) -> dict[str, Any]:
    """What the folder says of itself; nothing where it is not a prepared dataset."""
    try:
        said = json.loads((folder / DESCRIPTION).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return said if isinstance(said, dict) and isinstance(said.get("settings"), dict) else {}


def _add(folder: Path, line: str) -> None:
    with (folder / _MANIFEST).open("a", encoding="utf-8") as file:
        file.write(line)


def _rows(folder: Path) -> Iterator[dict[str, Any]]:
    """Lines that are whole and name a file."""
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
