"""Folders that results go to: made ready before the work, and held by one command at a time."""

import json
import os
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import asdict
from pathlib import Path
from typing import Any

from t3d.config import LearningConfig
from t3d.data.samples import VideoList
from t3d.data.trained_on import check_same_videos, write_trained_on
from t3d.errors import ConfigError
from t3d.models.checkpoints import ModelCard, read_state
from t3d.system import is_first_process
from t3d.training.callbacks import STATE_NAME
from t3d.training.run_dir import check_same_training, prepare_folder, write_config


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


def claimed(folder: Path) -> AbstractContextManager[None]:
    """Keep other commands out of the run folder; one process does so for all."""
    return alone(make_folder(folder) / ".lock", wait=False) if is_first_process() else nullcontext()


def check_same_flags(folder: Path, config: LearningConfig) -> None:
    """Refuse to go on with a run by flags that would make another one of it.

    Raises:
        ConfigError: A flag differs; the message names it with both values.
        CheckpointError: The folder's `config.json` cannot be read.
    """
    check_same_training(folder, asdict(config), defaults=asdict(type(config)(data=config.data)))


def open_folder(config: LearningConfig, card: ModelCard, videos: VideoList) -> dict[str, Any] | None:
    """Make the run folder ready, by one process for all; gives the state to go on from, if any."""
    flags = json.loads(json.dumps(asdict(config), default=str))
    state = None
    if is_first_process():
        prepare_folder(config.output, resume=config.resume, overwrite=config.overwrite)
    if config.resume:
        state = read_state(config.output / STATE_NAME)
    if is_first_process():
        if config.resume:
            check_same_flags(config.output, config)
            check_same_videos(config.output, videos)
        write_config(config.output, card, flags)
        write_trained_on(config.output, videos)
    return state
