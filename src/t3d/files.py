"""Folders and files of results: folders made and locked before the work, files that appear whole or not at all."""

import csv
import io
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from pathlib import Path
from typing import Any

from t3d.errors import ConfigError
from t3d.system import is_first_process


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


def make_folder(folder: Path) -> Path:
    """Create a folder if it does not exist.

    Raises:
        ConfigError: It cannot be created or written to.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except FileExistsError:
        raise ConfigError(f"{folder}: is a file; name a folder") from None
    except OSError as error:
        raise ConfigError(f"{folder}: cannot be made ({error.strerror}); name another folder") from None
    if not os.access(folder, os.W_OK | os.X_OK):
        raise ConfigError(f"{folder}: cannot be written to; name another folder")
    return folder


@contextmanager
def locked(path: Path, *, wait: bool = True) -> Iterator[None]:
    """Hold a lock file. A file left behind by a killed command does not block.

    Args:
        path: The lock file, removed at the end; its folder must exist.
        wait: Wait for another command that holds it, instead of raising.

    Raises:
        ConfigError: Another command holds it.
    """
    from filelock import FileLock, Timeout  # which takes a tenth of a second

    lock = FileLock(path, timeout=-1 if wait else 0)
    try:
        lock.acquire()
    except Timeout:
        raise ConfigError(
            f"{path.parent}: another command is writing here; let it end, or name another folder"
        ) from None
    try:
        yield
    finally:
        with suppress(OSError):  # Windows cannot remove open files
            path.unlink(missing_ok=True)
        lock.release()


def claimed(folder: Path) -> AbstractContextManager[None]:
    """Lock a run folder against other commands; only the first process does so."""
    return locked(make_folder(folder) / ".lock", wait=False) if is_first_process() else nullcontext()


def _umask() -> int:
    """The umask, which can only be read by setting it."""
    mask = os.umask(0o077)
    os.umask(mask)
    return mask
