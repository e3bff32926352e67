"""What is known of each file of a prepared dataset: what it was made of, and whether that could be decoded.

A line is added when a file is done, so that an interrupted command goes on where it was; a file whose line is torn or
missing is made again.
"""

import json
from dataclasses import asdict, dataclass
from pathlib import Path

NAME = "manifest.jsonl"


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
    error: str = ""
    """Why it is a copy of the original as it was."""

    def still_holds(self, folder: Path) -> bool:
        """Whether the file is there, and the original is the one it was made of."""
        file, original = folder / self.path, Path(self.source).stat()
        unchanged = (self.source_bytes, self.source_modified_ns) == (original.st_size, original.st_mtime_ns)
        return unchanged and file.is_file() and file.stat().st_size == self.num_bytes

    def line(self) -> str:
        """As the manifest has it."""
        return json.dumps(asdict(self)) + "\n"


def read_manifest(folder: Path) -> dict[str, Entry]:
    """The last line of each file, by its path."""
    if not (folder / NAME).exists():
        return {}
    entries = (_parsed(line) for line in (folder / NAME).read_text(encoding="utf-8").splitlines())
    return {entry.path: entry for entry in entries if entry is not None}


def add_to_manifest(folder: Path, entry: Entry) -> None:
    """Add a line."""
    with (folder / NAME).open("a", encoding="utf-8") as file:
        file.write(entry.line())


def _parsed(line: str) -> Entry | None:
    try:
        return Entry(**json.loads(line))
    except (ValueError, TypeError):
        return None
