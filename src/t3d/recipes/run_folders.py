"""The run folder of a training or a transfer: claimed for one command, and made ready only when all else is."""

import json
from contextlib import AbstractContextManager, nullcontext
from dataclasses import asdict
from pathlib import Path
from typing import Any

from t3d.config import LearningConfig
from t3d.data.samples import VideoList
from t3d.engine.checkpoints import ModelCard, read_state
from t3d.engine.hooks import STATE_NAME
from t3d.engine.runs import check_same_training, prepare_folder, write_config
from t3d.engine.trained_on import check_same_videos, write_trained_on
from t3d.recipes.folders import alone, make_folder
from t3d.recipes.processes import is_first_process


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
