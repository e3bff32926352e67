"""The files of a run: their names, whether a folder may be used, what a weights file says of itself, and releases.

Nothing here imports PyTorch, so that a wrong path or file is refused at once.
"""

import platform
from importlib.metadata import version
from pathlib import Path

from safetensors import SafetensorError, safe_open

from t3d.errors import CheckpointError, ConfigError

WEIGHTS_NAME = "weights.safetensors"
"""The result: the best epoch on validation videos, or the last one."""
LAST_NAME = "last.safetensors"
"""The last epoch."""
MATCHER_NAME = "matcher.safetensors"
"""Of a transfer: the network that compared the student with its teacher."""
STATE_NAME = "trainer/state.pt"
"""What `--resume` goes on from."""
CONFIG_NAME = "config.json"
"""How to rebuild the network, and every flag of its training."""
SUMMARY_NAME = "training.json"
"""Written last: its presence says that the run is finished."""
LOG_NAME = "log.csv"
"""One row an epoch."""
SKIPPED_NAME = "skipped.csv"
"""Videos that could not be decoded."""
FIGURE_NAME = "training.png"

EXPORTED_SUFFIXES = (".xml", ".onnx", ".pt2")
"""Of the files that `t3d export` writes."""

MEASURES = {"top1": "top-1", "matching": "matching"}
"""Names of the share of right answers: in the columns of the log, and for people."""


def check_run_folder(folder: Path, *, resume: bool, overwrite: bool) -> None:
    """Make sure that what a folder holds, if anything, may be continued or replaced.

    Raises:
        ConfigError: It is a file, or holds a run, and neither continuing nor replacing it was asked for.
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
    """The weights file that a run folder or a file name stands for.

    Raises:
        CheckpointError: There is none.
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
    """The JSON text in a weights file that says how to rebuild the network, and how its weights came about.

    Raises:
        CheckpointError: The file is damaged, or was not written by t3d.
    """
    remedy = "train again or copy it anew" if file.suffix == ".safetensors" else f"try t3d convert {file}"
    text = metadata_of(file, remedy=remedy).get("t3d")
    if text is None:
        raise CheckpointError(f"{file}: holds tensors but no t3d description; give weights written by t3d train")
    return text


def metadata_of(file: Path, *, remedy: str) -> dict[str, str]:
    """The texts in the head of a safetensors file.

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
    """Whether a training or transfer was begun in this folder and has not ended."""
    return (folder / STATE_NAME).exists() and not (folder / SUMMARY_NAME).exists()


def versions(*, modality: str = "rgb") -> dict[str, str]:
    """The releases that made a result; OpenCV's is among them where the network saw optical flow."""
    releases = {name: version(name) for name in ("t3d", "torch", "av")} | {"python": platform.python_version()}
    return releases | ({"opencv": _opencv_version()} if modality == "flow" else {})


def _opencv_version() -> str:
    import cv2

    return str(cv2.__version__)
