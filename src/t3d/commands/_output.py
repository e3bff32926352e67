"""Output folders: created before the work starts, and locked by one command at a time."""

import os
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from pathlib import Path

from filelock import FileLock, Timeout

from t3d.errors import ConfigError
from t3d.system import is_first_process


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
def alone(path: Path, *, wait: bool = True) -> Iterator[None]:
    """Hold a lock file. A file left behind by a killed command does not block.

    Args:
        path: The lock file, removed at the end; its folder must exist.
        wait: Wait for another command that holds it, instead of raising.

    Raises:
        ConfigError: Another command holds it.
    """
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
    return alone(make_folder(folder) / ".lock", wait=False) if is_first_process() else nullcontext()
