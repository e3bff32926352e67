"""Write files atomically: readers never see a partial file, and a failed write leaves nothing."""

import csv
import io
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any


@contextmanager
def complete(path: Path, *, shared: bool = False) -> Iterator[Path]:
    """Yield a temporary name to write to; the file is renamed at the end of the block, or removed after an error.

    Args:
        path: The file.
        shared: Several processes may write it at once; the last file stays.
    """
    writer = f".{os.getpid()}" if shared else ""
    unfinished = path.with_name(f".{path.stem}{writer}.partial{path.suffix}")
    try:
        yield unfinished
        unfinished.chmod(0o666 & ~_umask())  # some libraries set permissions for the owner only
        unfinished.replace(path)
    finally:
        unfinished.unlink(missing_ok=True)


def write_text(path: Path, text: str) -> None:
    """Write UTF-8; surrogates, such as undecodable bytes of file names, become backslash escapes."""
    with complete(path) as unfinished:
        unfinished.write_text(text, encoding="utf-8", errors="backslashreplace")


def write_csv(path: Path, rows: Sequence[Mapping[str, Any]]) -> None:
    """Write rows with the columns of the first row."""
    buffer = io.StringIO()
    writer = csv.DictWriter(buffer, fieldnames=list(rows[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    write_text(path, buffer.getvalue())


def _umask() -> int:
    """The umask, which can only be read by setting it."""
    mask = os.umask(0o077)
    os.umask(mask)
    return mask
