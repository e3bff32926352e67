"""Stop a run after any update, rebuild everything, go on: nothing may differ from the run that was not stopped."""

import csv
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader

from t3d.data.clips import EpochSampler
from t3d.models.checkpoints import ModelCard, read_state, read_weights
from t3d.run_files import LAST_NAME, STATE_NAME, WEIGHTS_NAME
from t3d.training.callbacks import RunCallbacks
from t3d.training.loop import Callbacks, Learner, fit
from t3d.training.objective import Classification
from t3d.video.spec import PixelSpec

Make = Callable[..., Any]

NAMES = [f"{index}.mp4" for index in range(11)]
NUM_STEPS = 8
"""Batches of 2 in pairs: 5 batches and 3 updates an epoch, so that the last epoch is cut short."""


class _StopAfter:
    """Callbacks that note the wish to stop during update `step`, as a signal would."""

    def __init__(self, callbacks: RunCallbacks, step: int) -> None:
        self.callbacks, self.stop_at = callbacks, step
        self.on_epoch, self.save = callbacks.on_epoch, callbacks.save

    def on_step(self, learner: Learner) -> None:
        self.callbacks.interrupted = learner.progress.step == self.stop_at
        self.callbacks.on_step(learner)


class _World:
    """Makes everything a run consists of anew, as a new process would."""

    def __init__(self, folder: Path, card: ModelCard, model: Make, learner: Make, loading: Make) -> None:
        self.folder, self.card, self.model, self.learner, self.loading = folder, card, model, learner, loading
        self.num_runs = 0
        (folder / "trainer").mkdir(parents=True)

    def run(self, *, stop_at: int = -1, resume: bool = False, **rates: object) -> Learner:
        self.num_runs += 1
        torch.manual_seed(self.num_runs)  # what was drawn before must not matter
        loader, sampler = self.loading(NAMES, batch_size=2, seed=3)
        learner = self.learner(
            self.model(dropout=0.3),
            ema_decay=0.9,
            **{"momentum": 0.9, "nesterov": True, "weight_decay": 1e-3, "layer_decay": 0.8, **rates},
        )
        if resume:
            learner.load_state_dict(read_state(self.folder / STATE_NAME))
        callbacks = RunCallbacks(
            self.folder,
            self.card,
            validate=_rising_loss,
            checkpoint_steps=100,
            early_stop_epochs=None,
            plateau=(0.1, 0) if rates.get("kind") == "plateau" else None,
            reporters=[],
        )
        _fit(learner, loader, sampler, _StopAfter(callbacks, stop_at))
        return learner


def _fit(learner: Learner, loader: "DataLoader[Any]", sampler: EpochSampler, callbacks: Callbacks) -> None:
    pixels = PixelSpec(resize=32, crop_size=32)
    objective = Classification(pixels=pixels, accumulate=2, clip_norm=1.0, label_smoothing=0.1)
    fit(learner, loader, sampler, objective=objective, num_steps=NUM_STEPS, seed=3, callbacks=callbacks)


def _rising_loss(learner: Learner) -> tuple[float, float]:
    """Worse every epoch, so that a plateau schedule divides after each one but the first; evaluates, like the real."""
    learner.result.eval()
    return 1.0 + learner.progress.epoch, 0.5 - 0.1 * learner.progress.epoch


def _flat(value: object, name: str = "") -> dict[str, Any]:
    if isinstance(value, dict | list | tuple):
        pairs = value.items() if isinstance(value, dict) else enumerate(value)
        return {key: leaf for k, v in pairs for key, leaf in _flat(v, f"{name}.{k}").items()}
    return {name: value}


def _assert_equal(found: dict[str, Any], expected: dict[str, Any]) -> None:
    found, expected = _flat(found), _flat(expected)
    assert found.keys() == expected.keys()
    for name, value in expected.items():
        if name.endswith("seconds"):
            continue
        if isinstance(value, torch.Tensor):
            assert torch.equal(found[name], value), name
        else:
            assert found[name] == value, name


def _log(folder: Path) -> list[dict[str, str]]:
    with (folder / "log.csv").open() as file:
        return [{name: value for name, value in row.items() if name != "seconds"} for row in csv.DictReader(file)]


@pytest.fixture
def world(
    tmp_path: Path,
    card: ModelCard,
    micro_model: Callable[..., nn.Module],
    learner: Callable[..., Learner],
    loading: Callable[..., Any],
) -> Callable[[str], _World]:
    return lambda name: _World(tmp_path / name, card, micro_model, learner, loading)


@pytest.mark.parametrize(
    ("rates", "stops"),
    [
        ({"kind": "cosine", "num_steps": NUM_STEPS, "warmup_steps": 4}, [1, 3, 5, 8]),
        ({"kind": "plateau"}, [4]),
        ({"kind": "step", "steps_per_decay": 3}, [4]),
    ],
    ids=["cosine", "plateau", "step"],
)
def test_resumed_run_is_bit_equal(rates: dict[str, Any], stops: list[int], world: Callable[[str], _World]) -> None:
    """Stops in the first update, in mid-epoch, at the end of an epoch, and at the very last update."""
    whole = world("whole")
    expected = whole.run(**rates)
    assert expected.progress.step == NUM_STEPS
    assert [row["step"] for row in expected.progress.rows] == [3, 6, 8]
    for stop in stops:
        parts = world(f"stopped-{stop}")
        with pytest.raises(KeyboardInterrupt):
            parts.run(stop_at=stop, **rates)
        assert read_state(parts.folder / STATE_NAME)["progress"]["step"] == stop
        resumed = parts.run(resume=True, **rates)
        _assert_equal(resumed.state_dict(), expected.state_dict())
        assert _log(parts.folder) == _log(whole.folder)
        for name in (WEIGHTS_NAME, LAST_NAME):
            _assert_equal(read_weights(parts.folder / name)[0], read_weights(whole.folder / name)[0])


def test_a_run_stopped_at_every_update_is_bit_equal(world: Callable[[str], _World]) -> None:
    expected = world("whole").run(kind="plateau")
    parts = world("parts")
    for stop in range(1, NUM_STEPS + 1):
        with pytest.raises(KeyboardInterrupt):
            parts.run(stop_at=stop, resume=stop > 1, kind="plateau")
    _assert_equal(parts.run(resume=True, kind="plateau").state_dict(), expected.state_dict())


def test_resuming_a_finished_run_changes_nothing(world: Callable[[str], _World]) -> None:
    whole = world("whole")
    expected = whole.run(kind="cosine", num_steps=NUM_STEPS)
    log = _log(whole.folder)
    _assert_equal(whole.run(resume=True, kind="cosine", num_steps=NUM_STEPS).state_dict(), expected.state_dict())
    assert _log(whole.folder) == log


def test_dropout_is_at_work_and_repeats(world: Callable[[str], _World]) -> None:
    """The equality above would be empty if dropout did nothing, or if two runs differed by themselves."""
    first, second = world("first"), world("second")
    _assert_equal(first.run().state_dict(), second.run().state_dict())
    plain = world("plain")
    plain.model = lambda dropout: first.model(dropout=0.0)
    weights = [learner.network.state_dict()["classifier.weight"] for learner in (first.run(), plain.run())]
    assert not torch.equal(*weights)
