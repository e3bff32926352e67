"""The state of a training: network, moving average, optimizer, schedule, progress; and preparing a network."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from lightning_fabric import Fabric
from torch import nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LambdaLR
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from t3d.models import accelerate
from t3d.system import keep_freed_memory, return_freed_memory


@dataclass
class Progress:
    """Progress of a run; plain values, saved with the trainer state."""

    epoch: int = 0
    batch: int = 0
    """Batches done in this epoch."""
    step: int = 0
    """Updates done in all."""
    loss_sum: float = 0.0
    num_correct: float = 0.0
    num_clips: int = 0
    rows: list[dict[str, Any]] = field(default_factory=list)
    """One row per epoch, as in the log."""
    best: tuple[float, float] = (-1.0, 0.0)
    """Highest selection top-1 so far, and minus the loss of that epoch."""
    lowest_loss: float = float("inf")
    stale_epochs: int = 0
    """Epochs since the selection loss was lowest."""
    plateau_epochs: int = 0
    """Epochs since the selection loss was lowest or the plateau schedule last divided the rate."""
    stopped: bool = False
    """Whether it was stopped early."""
    seconds: float = 0.0
    """Training time, including earlier parts of a resumed run."""
    skipped: list[str] = field(default_factory=list)
    """Training videos that could not be decoded."""


class Learner:
    """A network with everything that changes in training: weights, their average, optimizer, schedule, progress.

    Args:
        fabric: The devices.
        model: The network; this object is also evaluated and saved.
        optimizer: Of its parameters.
        schedule: Of the optimizer.
        ema_decay: Keep an exponential moving average of the weights, with this decay.
        compiled_for: Compile the training step for batches of this number of clips (or videos); other sizes are not
            compiled, because each would take minutes.
        savings: Flags that would save memory, for the out-of-memory message.
    """

    def __init__(
        self,
        fabric: Fabric,
        model: nn.Module,
        optimizer: Optimizer,
        schedule: LambdaLR,
        *,
        ema_decay: float | None,
        compiled_for: int | None = None,
        savings: Sequence[str] = (),
    ) -> None:
        self.fabric = fabric
        self.network = model
        self.schedule = schedule
        self.progress = Progress()
        self.average = (
            None
            if ema_decay is None
            else AveragedModel(model, multi_avg_fn=get_ema_multi_avg_fn(ema_decay), use_buffers=True)
        )
        self.compiled_for = compiled_for
        self.savings = savings
        self.model, self.optimizer = fabric.setup(model if compiled_for is None else _compiled(model), optimizer)
        if self.average is not None:
            self.average.to(fabric.device)

    @property
    def result(self) -> nn.Module:
        """The network to evaluate and save: the moving average if there is one."""
        return self.network if self.average is None else self.average.module

    def state_dict(self) -> dict[str, Any]:
        """The full state for an exact resume with `load_state_dict`."""
        return {
            "model": self.network.state_dict(),
            "average": None if self.average is None else self.average.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "schedule": {
                "base_lrs": list(self.schedule.base_lrs),
                "last_epoch": self.schedule.last_epoch,
            },
            "precision": self.fabric.strategy.precision.state_dict(),  # gradient scale of fp16
            "progress": vars(self.progress),
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore a saved state."""
        self.network.load_state_dict(state["model"])
        if self.average is not None:
            self.average.load_state_dict(state["average"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.schedule.base_lrs = state["schedule"]["base_lrs"]
        self.schedule.last_epoch = state["schedule"]["last_epoch"]
        self.fabric.strategy.precision.load_state_dict(state["precision"])
        self.progress = Progress(**{**state["progress"], "best": tuple(state["progress"]["best"])})


def prepare_network(
    network: nn.Module, *, channels_last: bool = False, recompute: bool = False, plain: bool = False
) -> None:
    """Prepare an initialised network for training, before its optimizer is built.

    Args:
        network: Changed in place; its state dict stays the same.
        channels_last: Store weights as channels_last_3d; feature maps follow.
        recompute: See `t3d.accelerate`; freed memory is then also returned to the system.
        plain: Leave out `t3d.accelerate`.
    """
    if channels_last:
        network.to(memory_format=torch.channels_last_3d)  # type: ignore[call-overload]
    if not plain:
        accelerate(network, recompute=recompute)
    if recompute:
        return_freed_memory()
    else:
        keep_freed_memory()


def _compiled(model: nn.Module) -> nn.Module:
    compiled = torch.compile(model, dynamic=False)
    assert isinstance(compiled, nn.Module)
    return compiled
