"""Where results go, made ready before the work, so that a wrong name does not cost it."""

from pathlib import Path

from t3d.errors import ConfigError


def make_folder(folder: Path) -> Path:
    """Create the folder if it is not there.

    Raises:
        ConfigError: It cannot be made.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except FileExistsError:
        raise ConfigError(f"{folder}: is a file; name a folder") from None
    except OSError as error:
        raise ConfigError(f"{folder}: cannot be made ({error.strerror}); name another folder") from None
    return folder
