"""Write files at once: a reader never sees half of one, and a failed write leaves nothing behind."""

import csv
import io
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any


@contextmanager
def complete(path: Path, *, shared: bool = False) -> Iterator[Path]:
    """Give a temporary name to write under; the file gets its own when the block ends well, else it is removed.

    Args:
        path: The file.
        shared: Several processes may write it at once; the last one's stays.
    """
    writer = f".{os.getpid()}" if shared else ""
    unfinished = path.with_name(f".{path.stem}{writer}.partial{path.suffix}")
    try:
        yield unfinished
        unfinished.chmod(0o666 & ~_umask())  # some libraries write for the owner only
        unfinished.replace(path)
    finally:
        unfinished.unlink(missing_ok=True)


def write_text(path: Path, text: str) -> None:
    """Write UTF-8; what Unicode cannot hold, such as bytes of a file's name, is written as backslash escapes."""
    with complete(path) as unfinished:
        unfinished.write_text(text, encoding="utf-8", errors="backslashreplace")


def write_csv(path: Path, rows: Sequence[Mapping[str, Any]]) -> None:
    """Write rows that all have the columns of the first."""
    buffer = io.StringIO()
    writer = csv.DictWriter(buffer, fieldnames=list(rows[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    write_text(path, buffer.getvalue())


def _umask() -> int:
    """Permissions the user withholds from new files; they can only be read by setting them."""
    mask = os.umask(0o077)
    os.umask(mask)
    return mask
