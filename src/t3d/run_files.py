"""Files of a run: names, checks of a folder, the header of a weights file, and versions of libraries.

This module does not import PyTorch, so that wrong paths and files are refused at once.
"""

import platform
from importlib.metadata import version
from pathlib import Path

from safetensors import SafetensorError, safe_open

from t3d.errors import CheckpointError, ConfigError

WEIGHTS_NAME = "weights.safetensors"
"""The resulting weights: of the best epoch on validation videos, or of the last."""
LAST_NAME = "last.safetensors"
"""Weights of the last epoch."""
MATCHER_NAME = "matcher.safetensors"
"""Weights of the matcher of a transfer."""
STATE_NAME = "trainer/state.pt"
"""State for `--resume`."""
CONFIG_NAME = "config.json"
"""Model card and all flags of the training."""
SUMMARY_NAME = "training.json"
"""Written last: its presence marks a finished run."""
LOG_NAME = "log.csv"
"""Log with one row per epoch."""
SKIPPED_NAME = "skipped.csv"
"""Videos that could not be decoded."""
FIGURE_NAME = "training.png"

EXPORTED_SUFFIXES = (".xml", ".onnx", ".pt2")
"""Suffixes of files written by `t3d export`."""

MEASURES = {"top1": "top-1", "matching": "matching"}
"""Names of accuracies: in columns of the log, and in text."""


def check_run_folder(folder: Path, *, resume: bool, overwrite: bool) -> None:
    """Check that a run in a folder, if any, may be continued or replaced.

    Raises:
        ConfigError: It is a file, or holds a run, and neither --resume nor --overwrite was given.
    """
    if folder.exists() and not folder.is_dir():
        raise ConfigError(f"{folder}: is a file; give a folder as --output")
    finished, started = (folder / SUMMARY_NAME).exists(), (folder / STATE_NAME).exists()
    if finished and not overwrite:
        raise ConfigError(f"{folder}: holds a finished run; give another --output, or --overwrite to replace it")
    if started and not (resume or overwrite):
        raise ConfigError(f"{folder}: holds an unfinished run; --resume goes on with it, --overwrite replaces it")
    if resume and not started:
        raise ConfigError(f"{folder}: holds no run to resume; leave out --resume")


def weights_file(path: Path) -> Path:
    """The weights file of a run folder, or the file itself.

    Raises:
        CheckpointError: There is no such file.
    """
    if path.is_dir():
        file = path / WEIGHTS_NAME
        if not file.exists():
            raise CheckpointError(
                f"{path}: no {WEIGHTS_NAME} in this folder; give a run folder that t3d train has finished"
            )
        return file
    if not path.exists():
        raise CheckpointError(f"{path}: no such run folder or weights file")
    if path.suffix.lower() in EXPORTED_SUFFIXES or (path.suffix == ".bin" and path.with_suffix(".xml").exists()):
        raise CheckpointError(f"{path}: is of t3d export; give the run folder or weights file it was made of")
    return path


def card_text(file: Path) -> str:
    """The model card in a weights file, as JSON text.

    Raises:
        CheckpointError: The file is damaged, or was not written by t3d.
    """
    remedy = "train again or copy it anew" if file.suffix == ".safetensors" else f"try t3d convert {file}"
    text = metadata_of(file, remedy=remedy).get("t3d")
    if text is None:
        raise CheckpointError(f"{file}: holds tensors but no t3d description; give weights written by t3d train")
    return text


def metadata_of(file: Path, *, remedy: str) -> dict[str, str]:
    """Metadata in the header of a safetensors file.

    Raises:
        CheckpointError: The file is damaged, or of another kind; the message ends with the remedy.
    """
    try:
        with safe_open(str(file), framework="np") as weights:
            return weights.metadata() or {}
    except (SafetensorError, OSError) as error:
        reason = " ".join(str(error).split())[:200]
        raise CheckpointError(f"{file}: not a complete safetensors file ({reason}); {remedy}") from error


def is_unfinished(folder: Path) -> bool:
    """Whether the folder contains an unfinished training or transfer."""
    return (folder / STATE_NAME).exists() and not (folder / SUMMARY_NAME).exists()


def versions(*, modality: str = "rgb") -> dict[str, str]:
    """Versions of the libraries behind a result; includes OpenCV for optical flow."""
    releases = {name: version(name) for name in ("t3d", "torch", "av")} | {"python": platform.python_version()}
    return releases | ({"opencv": _opencv_version()} if modality == "flow" else {})


def _opencv_version() -> str:
    import cv2

    return str(cv2.__version__)
