"""The files of a run folder by name, whether its training has ended, and the releases that made a result."""

import platform
from importlib.metadata import version
from pathlib import Path

from t3d.video.optical_flow import load_opencv

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

MEASURES = {"top1": "top-1", "matching": "matching"}
"""Names of the share of right answers: in the columns of the log, and for people."""


def is_unfinished(folder: Path) -> bool:
    """Whether a training or transfer was begun in this folder and has not ended."""
    return (folder / STATE_NAME).exists() and not (folder / SUMMARY_NAME).exists()


def versions(*, modality: str = "rgb") -> dict[str, str]:
    """The releases that made a result; OpenCV's is among them where the network saw optical flow."""
    releases = {name: version(name) for name in ("t3d", "torch", "av")} | {"python": platform.python_version()}
    return releases | ({"opencv": load_opencv().__version__} if modality == "flow" else {})
