"""Training curves for TensorBoard, if it is installed (`pip install t3d[tensorboard]`)."""

from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from t3d.training.callbacks import Reporter
from t3d.training.learner import Progress


def tensorboard_reporters(folder: Path, *, first_step: int) -> list[Reporter]:
    """A writer to `folder/tensorboard`, or nothing if TensorBoard is not installed."""
    return [TensorBoardReporter(folder, first_step=first_step)] if find_spec("tensorboard") else []


class TensorBoardReporter:
    """Write the values of every epoch; a resumed run replaces points after its first step."""

    def __init__(self, folder: Path, *, first_step: int) -> None:
        from torch.utils.tensorboard import SummaryWriter

        self.writer = SummaryWriter(str(folder / "tensorboard"), purge_step=first_step)

    def step(self, progress: Progress) -> None:
        """Do nothing; curves have one point per epoch."""

    def epoch(self, row: Mapping[str, Any]) -> None:
        """Write one point of every curve."""
        for name, value in row.items():
            if name not in ("epoch", "step"):
                self.writer.add_scalar(name.replace("_", "/", 1), value, row["step"])
        self.writer.flush()
