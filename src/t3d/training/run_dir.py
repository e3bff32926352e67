"""Run folders: create, resume, replace, and check the flags of a resumed run."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from t3d.data.samples import VideoList
from t3d.data.trained_on import LIST_NAME, check_same_videos, write_trained_on
from t3d.errors import CheckpointError, ConfigError
from t3d.files import write_text
from t3d.models.checkpoints import ModelCard, read_state
from t3d.run_files import (
    CONFIG_NAME,
    FIGURE_NAME,
    LAST_NAME,
    LOG_NAME,
    MATCHER_NAME,
    SKIPPED_NAME,
    STATE_NAME,
    SUMMARY_NAME,
    WEIGHTS_NAME,
    check_run_folder,
    versions,
)
from t3d.system import is_first_process

_RESULTS = (
    *(SUMMARY_NAME, WEIGHTS_NAME, LAST_NAME, MATCHER_NAME, STATE_NAME, LOG_NAME, SKIPPED_NAME, FIGURE_NAME, LIST_NAME),
    *("metrics.json", "predictions.csv", "predictions.parquet", "report.html", "confusion.png", "classes.png"),
)


def open_run(
    folder: Path,
    card: ModelCard,
    videos: VideoList,
    *,
    flags: Mapping[str, Any],
    defaults: Mapping[str, Any],
    resume: bool,
    overwrite: bool,
) -> dict[str, Any] | None:
    """Prepare a run folder, by one process for all; return the state to resume from, if any.

    Args:
        folder: The run.
        card: Of its network.
        videos: Training videos.
        flags: All flags of the training, by group.
        defaults: See `check_same_training`.
        resume: Continue the run in the folder.
        overwrite: Replace it.

    Raises:
        ConfigError: The folder holds a run that may not be continued or replaced, or has other flags or videos.
        CheckpointError: The run to resume cannot be read.
    """
    if is_first_process():
        prepare_folder(folder, resume=resume, overwrite=overwrite)
    state = read_state(folder / STATE_NAME) if resume else None
    if is_first_process():
        if resume:
            check_same_training(folder, flags, defaults=defaults)
            check_same_videos(folder, videos)
        write_config(folder, card, json.loads(json.dumps(flags, default=str)))
        write_trained_on(folder, videos)
    return state


def prepare_folder(folder: Path, *, resume: bool, overwrite: bool) -> None:
    """Create a run folder, or check that the run in it may be continued or replaced.

    Raises:
        ConfigError: The folder holds a run, and neither --resume nor --overwrite was given.
    """
    check_run_folder(folder, resume=resume, overwrite=overwrite)
    if overwrite:
        for name in _RESULTS:
            (folder / name).unlink(missing_ok=True)
    (folder / STATE_NAME).parent.mkdir(parents=True, exist_ok=True)


def write_config(folder: Path, card: ModelCard, train: Mapping[str, Any]) -> None:
    """Write `config.json`: the model card and all flags of the training."""
    document = {
        "model": json.loads(card.to_json()),
        "train": train,
        "versions": versions(modality=card.pixels.modality),
    }
    write_text(folder / CONFIG_NAME, json.dumps(document, indent=2, default=str) + "\n")


def check_same_training(folder: Path, train: Mapping[str, Any], *, defaults: Mapping[str, Any]) -> None:
    """Refuse to resume with flags that change the result.

    Args:
        folder: The run.
        train: All current flags.
        defaults: Default of every flag, for runs begun before a flag existed.

    Raises:
        ConfigError: A flag differs; the message names it with both values.
        CheckpointError: The folder's `config.json` cannot be read.
    """
    try:
        saved = json.loads((folder / CONFIG_NAME).read_text(encoding="utf-8"))["train"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise CheckpointError(
            f"{folder / CONFIG_NAME}: cannot be read ({error}); start again with --overwrite"
        ) from None
    current, usual = json.loads(json.dumps([train, defaults], default=str))
    earlier = _flat(usual) | _flat(saved)
    harmless = {"resume", "overwrite", "output", "workers", "checkpoint_steps"}
    for name, value in _flat(current).items():
        before = earlier.get(name)
        if name not in harmless and before != value:
            flag = f"--{name.replace('_', '-')}"
            raise ConfigError(
                f"{folder}: was started with {flag} {before}, now it is {value}; resume with the same flags"
            )


def _flat(values: Mapping[str, Any]) -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for name, value in values.items():
        flat.update(_flat(value) if isinstance(value, Mapping) else {name: value})
    return flat
