import csv
import os
import signal
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from t3d.models.checkpoints import ModelCard, read_state, read_weights
from t3d.run_files import LAST_NAME, STATE_NAME, WEIGHTS_NAME
from t3d.training.callbacks import RunCallbacks
from t3d.training.loop import Learner, Progress


class _Reporter:
    def __init__(self) -> None:
        self.steps: list[int] = []
        self.rows: list[Mapping[str, Any]] = []

    def step(self, progress: Progress) -> None:
        self.steps.append(progress.step)

    def epoch(self, row: Mapping[str, Any]) -> None:
        self.rows.append(row)


class _Run:
    """Epochs whose weights are marked by their number, and whose validation figures are given."""

    def __init__(self, folder: Path, card: ModelCard, learner: Learner) -> None:
        (folder / "trainer").mkdir()
        self.folder, self.card, self.learner = folder, card, learner
        self.reporter = _Reporter()

    def callbacks(self, figures: list[tuple[float, float]] | None, **options: object) -> RunCallbacks:
        validate = None if figures is None else lambda learner: figures[learner.progress.epoch]
        defaults = {"checkpoint_steps": 100, "early_stop_epochs": None, "plateau": None}
        return RunCallbacks(
            self.folder, self.card, validate=validate, reporters=[self.reporter], **{**defaults, **options}
        )

    def epochs(self, callbacks: RunCallbacks, count: int) -> list[float]:
        """Go through epochs without learning; gives the rate of the head after each."""
        rates, progress = [], self.learner.progress
        for _ in range(count):
            with torch.no_grad():
                self.learner.network.classifier.bias.fill_(progress.epoch)
            progress.step += 2
            progress.loss_sum, progress.num_correct, progress.num_clips = 6.0, 3, 4
            callbacks.on_epoch(self.learner)
            progress.epoch += 1
            rates.append(self.learner.optimizer.param_groups[-1]["lr"])
            if progress.stopped:
                break
        return rates

    def mark(self, name: str) -> float:
        """Which epoch a weights file is of."""
        return float(read_weights(self.folder / name)[0]["classifier.bias"][0])


@pytest.fixture
def run(
    tmp_path: Path, card: ModelCard, micro_model: Callable[..., nn.Module], learner: Callable[..., Learner]
) -> _Run:
    return _Run(tmp_path, card, learner(micro_model()))


@pytest.mark.parametrize(
    ("figures", "best"),
    [
        ([(1.0, 0.2), (0.9, 0.6), (0.5, 0.4)], 1),  # top-1 decides, not the loss
        ([(1.0, 0.5), (0.8, 0.5), (0.9, 0.5)], 1),  # the loss decides between equals
        ([(1.0, 0.5), (1.0, 0.5), (1.0, 0.5)], 0),  # the first of equals stays
        ([(2.0, 0.0), (1.0, 0.0), (3.0, 0.0)], 1),  # no hit at all is a result, too
        ([(float("nan"), 0.0), (1.0, 0.1), (float("nan"), 0.1)], 1),
    ],
)
def test_best_weights_are_by_top1_then_loss(figures: list[tuple[float, float]], best: int, run: _Run) -> None:
    run.epochs(run.callbacks(figures), 3)
    assert run.mark(WEIGHTS_NAME) == best
    assert run.mark(LAST_NAME) == 2
    assert read_weights(run.folder / WEIGHTS_NAME)[1] == run.card


def test_without_validation_the_last_weights_win(run: _Run) -> None:
    run.epochs(run.callbacks(None), 3)
    assert (run.mark(WEIGHTS_NAME), run.mark(LAST_NAME)) == (2, 2)


def test_the_average_is_what_is_written(
    tmp_path: Path, card: ModelCard, micro_model: Callable[..., nn.Module], learner: Callable[..., Learner]
) -> None:
    averaged = _Run(tmp_path, card, learner(micro_model(), ema_decay=0.9))
    with torch.no_grad():
        averaged.learner.result.classifier.bias.fill_(7.0)
    averaged.epochs(averaged.callbacks(None), 1)
    assert averaged.mark(WEIGHTS_NAME) == 7.0


def test_the_log_has_a_row_an_epoch(run: _Run) -> None:
    run.epochs(run.callbacks([(1.5, 0.25), (1.25, 0.5)]), 2)
    with (run.folder / "log.csv").open() as file:
        rows = list(csv.DictReader(file))
    expected = {"epoch": "2", "step": "4", "lr": "0.1", "train_loss": "1.5", "train_top1": "0.75"}
    assert rows[1] == {**expected, "validation_loss": "1.25", "validation_top1": "0.5", "seconds": rows[1]["seconds"]}
    assert rows[0]["epoch"] == "1"
    assert float(rows[1]["seconds"]) >= float(rows[0]["seconds"]) >= 0
    assert [row["step"] for row in run.reporter.rows] == [2, 4]


def test_the_log_without_validation_has_no_such_columns(run: _Run) -> None:
    run.epochs(run.callbacks(None), 1)
    header = (run.folder / "log.csv").read_text().splitlines()[0]
    assert header == "epoch,step,seconds,lr,train_loss,train_top1"


def test_early_stopping_counts_epochs_since_the_lowest_loss(run: _Run) -> None:
    losses = [1.0, 0.9, 0.95, 0.9, 0.8, 0.8, 0.9, 0.5]  # an equal loss is not lower
    callbacks = run.callbacks([(loss, 0.5) for loss in losses], early_stop_epochs=2)
    run.epochs(callbacks, 8)
    assert run.learner.progress.stopped
    assert run.learner.progress.epoch == 4


def test_plateau_divides_after_its_patience_and_again(run: _Run) -> None:
    losses = [1.0, 0.9, 0.95, 0.95, 0.95, 0.95, 0.8, 0.85]
    callbacks = run.callbacks([(loss, 0.5) for loss in losses], plateau=(0.5, 1))
    rates = run.epochs(callbacks, 8)
    assert rates == pytest.approx([0.1, 0.1, 0.1, 0.05, 0.05, 0.025, 0.025, 0.025])
    assert run.learner.progress.rows[3]["lr"] == 0.1  # the row says at which rate its epoch learnt


def test_a_division_outlives_the_schedule(run: _Run) -> None:
    run.epochs(run.callbacks([(1.0, 0.5), (1.0, 0.5)], plateau=(0.5, 0)), 2)
    run.learner.optimizer.step()
    run.learner.schedule.step()
    assert run.learner.optimizer.param_groups[-1]["lr"] == pytest.approx(0.05)


def test_the_state_is_saved_every_so_many_updates(run: _Run) -> None:
    callbacks = run.callbacks(None, checkpoint_steps=3)
    saved = []
    for step in range(1, 8):
        run.learner.progress.step = step
        callbacks.on_step(run.learner)
        path = run.folder / STATE_NAME
        saved.append(read_state(path)["progress"]["step"] if path.exists() else None)
    assert saved == [None, None, 3, 3, 3, 6, 6]
    assert run.reporter.steps == [1, 2, 3, 4, 5, 6, 7]


def test_an_interrupted_run_saves_and_ends(run: _Run) -> None:
    callbacks = run.callbacks(None)
    callbacks.interrupted = True
    run.learner.progress.step = 1
    with pytest.raises(KeyboardInterrupt):
        callbacks.on_step(run.learner)
    assert read_state(run.folder / STATE_NAME)["progress"]["step"] == 1


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_the_first_signal_waits_for_the_update_the_second_does_not(number: signal.Signals, run: _Run) -> None:
    callbacks = run.callbacks(None)
    before = signal.getsignal(number)
    with callbacks.catch_signals():
        os.kill(os.getpid(), number)
        assert callbacks.interrupted
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), signal.SIGINT)
    assert signal.getsignal(number) is before


def test_seconds_add_up_over_resumptions(run: _Run, monkeypatch: pytest.MonkeyPatch) -> None:
    now = [100.0]
    monkeypatch.setattr("t3d.training.callbacks.time.monotonic", lambda: now[0])
    run.learner.progress.seconds = 40.0
    callbacks = run.callbacks(None)
    for later in (103.0, 110.0):
        now[0] = later
        callbacks.save(run.learner)
    assert run.learner.progress.seconds == 50.0


def test_the_last_weights_are_kept_where_validation_only_measures(run: _Run) -> None:
    callbacks = run.callbacks([(0.5, 0.9), (0.4, 0.95), (0.9, 0.2)], keep_best=False, early_stop_epochs=9)
    run.epochs(callbacks, 3)
    assert (run.mark(WEIGHTS_NAME), run.mark(LAST_NAME)) == (2, 2)
    assert run.learner.progress.lowest_loss == 0.4  # rates and early stopping look at it all the same
    assert run.learner.progress.stale_epochs == 1


def test_after_resuming_the_last_weights_are_still_kept(run: _Run) -> None:
    """What was best is measured anew by epochs: the next one is always better."""
    run.epochs(run.callbacks([(0.5, 0.9)] * 2, keep_best=False), 2)
    assert run.learner.progress.best == (1.0, 0.0)
    run.epochs(run.callbacks([(0.5, 0.1)] * 3, keep_best=False), 1)
    assert run.mark(WEIGHTS_NAME) == 2


def test_the_log_calls_the_share_of_hits_what_it_is(run: _Run) -> None:
    run.epochs(run.callbacks([(1.5, 0.25)], measure="matching"), 1)
    header, row = (run.folder / "log.csv").read_text().splitlines()
    assert header == "epoch,step,seconds,lr,train_loss,train_matching,validation_loss,validation_matching"
    assert row.split(",")[5:] == ["0.75", "1.5", "0.25"]


def test_only_the_part_that_the_card_describes_is_written(run: _Run) -> None:
    run.epochs(run.callbacks(None, part=lambda network: network.get_submodule("stages.block2")), 1)
    tensors, _ = read_weights(run.folder / WEIGHTS_NAME)
    whole = run.learner.network.state_dict()
    assert tensors.keys() == {
        name.removeprefix("stages.block2.") for name in whole if name.startswith("stages.block2.")
    }
    assert all(torch.equal(value, whole[f"stages.block2.{name}"]) for name, value in tensors.items())
    assert read_weights(run.folder / LAST_NAME)[0].keys() == tensors.keys()


def test_the_part_is_taken_of_the_average(
    tmp_path: Path, card: ModelCard, micro_model: Callable[..., nn.Module], learner: Callable[..., Learner]
) -> None:
    averaged = _Run(tmp_path, card, learner(micro_model(), ema_decay=0.9))
    with torch.no_grad():
        averaged.learner.result.classifier.bias.fill_(7.0)
    averaged.epochs(averaged.callbacks(None, part=lambda network: network.classifier), 1)
    tensors, _ = read_weights(tmp_path / WEIGHTS_NAME)
    assert tensors["bias"].tolist() == [7.0, 7.0, 7.0]
