"""Callbacks: validation, log, selecting and saving weights, early stopping, signals."""

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import torch
from torch import nn

from t3d.files import write_csv
from t3d.models.checkpoints import ModelCard, save_state, save_weights
from t3d.run_files import LAST_NAME, LOG_NAME, STATE_NAME, WEIGHTS_NAME
from t3d.system import interrupts_deferred
from t3d.training.learner import Learner, Progress
from t3d.training.optim import divide_rates

Validate = Callable[[Learner], tuple[float, float]]
"""Returns mean loss and top-1 of the current network, over all processes."""


@runtime_checkable
class Reporter(Protocol):
    """Shows the progress of a training; receives plain numbers only."""

    def step(self, progress: Progress) -> None:
        """Called after every update."""

    def epoch(self, row: Mapping[str, Any]) -> None:
        """Called after every epoch."""


def _whole(network: nn.Module) -> nn.Module:
    return network


class RunCallbacks:
    """Keep a run folder up to date.

    Args:
        folder: Run folder.
        card: Description written into every weights file.
        validate: Measures the network after each epoch; None for no validation.
        keep_best: Keep the epoch that is best by `validate`, instead of the last.
        measure: Name of the accuracy in the log.
        part: The part of the network that `card` describes.
        checkpoint_steps: Updates between two checkpoints of the trainer state.
        early_stop_epochs: Epochs without a lower loss before training ends.
        plateau: Factor and patience of the plateau schedule.
        reporters: Show progress, on the first process only.
    """

    def __init__(
        self,
        folder: Path,
        card: ModelCard,
        *,
        validate: Validate | None,
        keep_best: bool = True,
        measure: str = "top1",
        part: Callable[[nn.Module], nn.Module] = _whole,
        checkpoint_steps: int,
        early_stop_epochs: int | None,
        plateau: tuple[float, int] | None,
        reporters: Sequence[Reporter],
    ) -> None:
        self.folder = folder
        self.card = card
        self.validate = validate
        self.keep_best = keep_best
        self.measure = measure
        self.part = part
        self.checkpoint_steps = checkpoint_steps
        self.early_stop_epochs = early_stop_epochs
        self.plateau = plateau
        self.reporters = reporters
        self.interrupted = False
        self.clock = time.monotonic()

    def on_step(self, learner: Learner) -> None:
        """Save every `checkpoint_steps` updates; on a signal to end, save at once and stop."""
        if learner.fabric.is_global_zero:
            for reporter in self.reporters:
                reporter.step(learner.progress)
        if self._is_to_end(learner):
            self.save(learner)
            raise KeyboardInterrupt
        if learner.progress.step % self.checkpoint_steps == 0:
            self.save(learner)

    def on_epoch(self, learner: Learner) -> None:
        """Validate, log, save the best and the last weights, divide the rate or stop early if due."""
        progress = learner.progress
        self._add_seconds(progress)
        row = _epoch_row(learner, self.measure)
        score = (float(progress.epoch), 0.0)
        if self.validate is not None:
            loss, right = self.validate(learner)
            row |= {"validation_loss": loss, f"validation_{self.measure}": right}
            score = (right, -loss) if self.keep_best else score
            self._watch(learner, loss)
        progress.rows.append(row)
        if learner.fabric.is_global_zero:
            self._write(learner, is_best=score > progress.best)
            for reporter in self.reporters:
                reporter.epoch(row)
        progress.best = max(progress.best, score)

    def save(self, learner: Learner) -> None:
        """Write the state for `--resume`."""
        self._add_seconds(learner.progress)
        if learner.fabric.is_global_zero:
            save_state(self.folder / STATE_NAME, learner.state_dict())

    @contextmanager
    def catch_signals(self) -> Iterator[None]:
        """End the run after the current update at the first Ctrl-C, SIGTERM or SIGHUP, at once at the second."""

        def note() -> None:
            self.interrupted = True

        with interrupts_deferred(note):
            yield

    def _is_to_end(self, learner: Learner) -> bool:
        """Whether any process received a signal to end; all stop after the same update."""
        if learner.fabric.world_size == 1:
            return self.interrupted
        num_interrupted = learner.fabric.all_reduce(
            torch.tensor(float(self.interrupted), device=learner.fabric.device), reduce_op="sum"
        )
        return bool(num_interrupted)

    def _add_seconds(self, progress: Progress) -> None:
        now = time.monotonic()
        progress.seconds += now - self.clock
        self.clock = now

    def _watch(self, learner: Learner, loss: float) -> None:
        progress = learner.progress
        fell = loss < progress.lowest_loss
        progress.lowest_loss = min(progress.lowest_loss, loss)
        progress.stale_epochs = 0 if fell else progress.stale_epochs + 1
        progress.plateau_epochs = 0 if fell else progress.plateau_epochs + 1
        if self.plateau is not None and progress.plateau_epochs > self.plateau[1]:
            divide_rates(learner.schedule, self.plateau[0])
            progress.plateau_epochs = 0
        if self.early_stop_epochs is not None and progress.stale_epochs >= self.early_stop_epochs:
            progress.stopped = True

    def _write(self, learner: Learner, *, is_best: bool) -> None:
        weights = self.part(learner.result).state_dict()
        save_weights(self.folder / LAST_NAME, weights, self.card)
        if is_best:
            save_weights(self.folder / WEIGHTS_NAME, weights, self.card)
        write_csv(self.folder / LOG_NAME, learner.progress.rows)


def _epoch_row(learner: Learner, measure: str) -> dict[str, Any]:
    progress = learner.progress
    count = max(1, progress.num_clips)
    return {
        "epoch": progress.epoch + 1,
        "step": progress.step,
        "seconds": round(progress.seconds, 1),
        "lr": learner.optimizer.param_groups[-1]["lr"],
        "train_loss": progress.loss_sum / count,
        f"train_{measure}": progress.num_correct / count,
    }
