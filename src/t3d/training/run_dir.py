"""What lies in a run folder, and whether a new run may use it."""

import json
import platform
from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any

from t3d.errors import CheckpointError, ConfigError
from t3d.files import write_text
from t3d.models.checkpoints import ModelCard
from t3d.run_files import LAST_NAME, MATCHER_NAME, STATE_NAME, SUMMARY_NAME, WEIGHTS_NAME, check_run_folder
from t3d.video.optical_flow import load_opencv

_RESULTS = (
    *(SUMMARY_NAME, WEIGHTS_NAME, LAST_NAME, MATCHER_NAME, STATE_NAME),
    *("log.csv", "skipped.csv", "training.png", "trained_on.csv"),
    *("metrics.json", "predictions.csv", "predictions.parquet", "report.html", "confusion.png", "classes.png"),
)


def prepare_folder(folder: Path, *, resume: bool, overwrite: bool) -> None:
    """Create a run folder, or make sure that what it holds may be continued or replaced.

    Raises:
        ConfigError: The folder holds a run, and neither continuing nor replacing it was asked for.
    """
    check_run_folder(folder, resume=resume, overwrite=overwrite)
    if overwrite:
        for name in _RESULTS:
            (folder / name).unlink(missing_ok=True)
    (folder / STATE_NAME).parent.mkdir(parents=True, exist_ok=True)


def is_unfinished(folder: Path) -> bool:
    """Whether a training or transfer was begun here and has not ended."""
    return (folder / STATE_NAME).exists() and not (folder / SUMMARY_NAME).exists()


def write_config(folder: Path, card: ModelCard, train: Mapping[str, Any]) -> None:
    """Write `config.json`: how to rebuild the model, and every flag of its training."""
    document = {
        "model": json.loads(card.to_json()),
        "train": train,
        "versions": versions(modality=card.pixels.modality),
    }
    write_text(folder / "config.json", json.dumps(document, indent=2, default=str) + "\n")


def check_same_training(folder: Path, train: Mapping[str, Any], *, defaults: Mapping[str, Any]) -> None:
    """Refuse to resume with flags that would make another run of it.

    Args:
        folder: The run.
        train: All flags as they are now.
        defaults: Likewise, what a flag stands at where nobody gives it: a run begun before there was the flag had that.

    Raises:
        ConfigError: A flag differs; the message names it with both values.
        CheckpointError: The folder's `config.json` cannot be read.
    """
    try:
        saved = json.loads((folder / "config.json").read_text(encoding="utf-8"))["train"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise CheckpointError(
            f"{folder / 'config.json'}: cannot be read ({error}); start again with --overwrite"
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


def versions(*, modality: str = "rgb") -> dict[str, str]:
    """The releases that made a result; OpenCV's is among them where the network saw optical flow."""
    releases = {name: version(name) for name in ("t3d", "torch", "av")} | {"python": platform.python_version()}
    return releases | ({"opencv": load_opencv().__version__} if modality == "flow" else {})


def _flat(values: Mapping[str, Any]) -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for name, value in values.items():
        flat.update(_flat(value) if isinstance(value, Mapping) else {name: value})
    return flat
