"""Where results go: made ready before the work, so that a wrong name costs nothing, and for one command at a time."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from t3d.errors import ConfigError


def make_folder(folder: Path) -> Path:
    """Create the folder if it is not there.

    Raises:
        ConfigError: It cannot be made, or not be written to.
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
    """Hold a lock file, where the system has locks (Windows has none of this kind).

    Args:
        path: The lock file, removed in the end; its folder exists.
        wait: Until another command is done, or refuse.

    Raises:
        ConfigError: Another command holds it.
    """
    with path.open("w") as file:
        if os.name == "posix":
            import fcntl

            try:
                fcntl.flock(file, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))  # given back when the file is closed
            except BlockingIOError:
                raise ConfigError(
                    f"{path.parent}: another command is writing here; let it end, or name another folder"
                ) from None
        try:
            yield
        finally:
            path.unlink(missing_ok=True)
