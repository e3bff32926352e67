"""Adding a flag to `t3d train`: a field of that name in `t3d.config`, and an argument of that name where it acts.

The toy flag `--rate-factor` multiplies the learning rate. Nothing else of the package is touched.
"""

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import pytest
import tyro
from torch import nn
from torch.optim import SGD

from program import MICRO
from t3d.commands import _training, train
from t3d.commands._training import flags_of, with_flags
from t3d.config import OptimizerOptions, TrainConfig
from t3d.errors import ConfigError
from t3d.training.optim import build_optimizer

SETTINGS = (tyro.conf.OmitArgPrefixes, tyro.conf.FlagCreatePairsOff)  # as in t3d.cli


# 1. The field, in `t3d.config.options`: its name is the flag, its docstring the help.
@dataclass(frozen=True, kw_only=True)
class ToyOptimizerOptions(OptimizerOptions):
    """Stochastic gradient descent."""

    rate_factor: float = 1.0
    """Multiply every learning rate."""


# 2. The argument, where it acts: here in `t3d.training.optim`.
def toy_optimizer(
    model: nn.Module,
    *,
    lr: float,
    momentum: float,
    nesterov: bool,
    weight_decay: float,
    layer_decay: float = 1.0,
    rate_factor: float = 1.0,
) -> SGD:
    return build_optimizer(
        model,
        lr=lr * rate_factor,
        momentum=momentum,
        nesterov=nesterov,
        weight_decay=weight_decay,
        layer_decay=layer_decay,
    )


@dataclass(frozen=True, kw_only=True)
class ToyConfig(TrainConfig):
    """Train a network on labelled videos."""

    optimizer: ToyOptimizerOptions = field(default_factory=ToyOptimizerOptions)


@pytest.fixture
def parse(dataset: Path, tmp_path: Path) -> Callable[..., ToyConfig]:
    small = (*MICRO, "--arch", "t3d_tiny", "--select-on", "none", "--schedule", "step", "--max-steps", "1")

    def call(*flags: str) -> ToyConfig:
        given = [str(dataset), "--output", str(tmp_path / "run"), *small, "--lr", "0.1", *flags]
        return tyro.cli(ToyConfig, args=given, config=SETTINGS)

    return call


def test_the_flag_acts_is_recorded_and_guards_a_resumption(
    parse: Callable[..., ToyConfig], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_training, "build_optimizer", toy_optimizer)
    train.run(parse("--rate-factor", "0.5"), command="t3d train")
    (log,) = (tmp_path / "run" / "log.csv").read_text().splitlines()[1:]
    assert ",0.05," in log
    assert json.loads((tmp_path / "run" / "config.json").read_text())["train"]["optimizer"]["rate_factor"] == 0.5
    (tmp_path / "run" / "training.json").unlink()  # as if it had been interrupted
    with pytest.raises(ConfigError, match="--rate-factor"):
        train.run(parse("--rate-factor", "2", "--resume"), command="t3d train")


def test_help_says_what_the_field_says(parse: Callable[..., ToyConfig], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        parse("--help")
    assert "Multiply every learning rate." in capsys.readouterr().out


def test_only_keyword_only_arguments_are_filled_and_what_is_given_goes_first() -> None:
    def act(lr: object, *, momentum: float, seed: int, own: str = "default") -> tuple[object, ...]:
        return lr, momentum, seed, own

    flags = flags_of(TrainConfig(data=Path("DATA")))
    assert with_flags(act, flags, "positional", seed=7) == ("positional", 0.9, 7, "default")
    assert {"clip", "pixels", "augment", "segments"} < flags.keys()  # the specs stay whole
    assert not {"optimizer", "run", "num_frames"} & flags.keys()
