"""Named sets of defaults, each with its command, time and expected result."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TypeVar

from t3d.config import (
    ModelOptions,
    OptimizerOptions,
    PairOptions,
    PipelineConfig,
    RunOptions,
    ScheduleOptions,
    SelectionOptions,
    StartOptions,
    TeacherOptions,
    TrainConfig,
    TransferConfig,
)
from t3d.errors import ConfigError, unknown
from t3d.video.spec import AugmentSpec, ClipSpec, PixelSpec

Config = TypeVar("Config", TrainConfig, TransferConfig, PipelineConfig)


@dataclass(frozen=True, kw_only=True)
class Preset:
    """Defaults for one purpose, with time and expected result."""

    command: str
    """Example command."""
    time: str
    """Duration, or that it was not measured."""
    expected: str
    """Expected accuracy and its source."""
    config: TrainConfig | TransferConfig | PipelineConfig


_DATA = Path("DATA")
"""Placeholder: the user always gives DATA."""

_PAPER = TrainConfig(data=_DATA, preset="paper-kinetics")

_QUICK = TrainConfig(
    data=_DATA,
    model=ModelOptions(arch="t3d_tiny"),
    clip=ClipSpec(num_frames=16, frame_stride=2),
    pixels=PixelSpec(resize=64, crop_size=64),
    augment=AugmentSpec(scales=(1.0, 0.9, 0.8)),
    optimizer=OptimizerOptions(batch_size=16, lr=0.05, weight_decay=5e-4, ema_decay=0.98),
    schedule=ScheduleOptions(epochs=5, min_steps=400, schedule="cosine", warmup_steps=40),
    selection=SelectionOptions(select_on="none"),
)

_QUICK_TEACHER = TeacherOptions(teacher="efficientnet_lite0", teacher_size=64, pictures=4, windows=4)
_PAPER_TEACHER = TeacherOptions(live=True)

PRESETS: Mapping[tuple[str, str], Preset] = {
    ("train", "quick"): Preset(
        command="t3d train DATA",
        time="minutes on two CPU cores for a few hundred short videos",
        expected="see docs/results: measured on four actions of nine people",
        config=_QUICK,
    ),
    ("train", "paper-kinetics"): Preset(
        command="t3d train DATA --preset paper-kinetics --arch t3d_121 --devices 8 --batch-size 8",
        time="not measured here; 200 epochs of about 240 000 videos are a matter of weeks on eight GPUs",
        expected="62.2 % video top-1 on Kinetics-400 (published; not reproduced here)",
        config=_PAPER,
    ),
    ("train", "paper-ucf101-scratch"): Preset(
        command="t3d train UCF-101 --preset paper-ucf101-scratch --arch t3d_121 --split 1",
        time="not measured here; about 9 500 videos an epoch, 200 epochs: days on one GPU",
        expected="69.1 to 71.4 % video top-1 on split 1 (published; not reproduced here)",
        config=replace(_PAPER, preset="paper-ucf101-scratch", clip=ClipSpec(num_frames=32, frame_stride=2)),
    ),
    ("train", "paper-finetune"): Preset(
        command="t3d train UCF-101 --preset paper-finetune --init runs/kinetics --split 1",
        time="not measured here; hours on one GPU",
        expected="90.3 % on UCF101, 59.2 % on HMDB51, mean of three splits (published; not reproduced here)",
        config=replace(
            _PAPER,
            preset="paper-finetune",
            start=StartOptions(layer_decay=0.8),
            optimizer=OptimizerOptions(lr=0.01),
            schedule=ScheduleOptions(epochs=60, schedule="step", step_epochs=20),
            selection=SelectionOptions(select_on="none"),
        ),
    ),
    ("transfer", "quick"): Preset(
        command="t3d transfer DATA",
        time="minutes on two CPU cores for a few hundred short videos",
        expected="see docs/results: pairs of held-out videos matched, and what it brings afterwards",
        config=TransferConfig(
            data=_DATA,
            teacher=_QUICK_TEACHER,
            pairs=PairOptions(matcher_norm=True),
            model=_QUICK.model,
            clip=_QUICK.clip,
            pixels=_QUICK.pixels,
            augment=_QUICK.augment,
            optimizer=OptimizerOptions(batch_size=32, lr=0.05, ema_decay=0.98),
            schedule=ScheduleOptions(epochs=8, min_steps=600, schedule="cosine", warmup_steps=50),
            run=RunOptions(bad_videos="skip"),
        ),
    ),
    ("transfer", "paper-transfer"): Preset(
        command="t3d transfer VIDEOS --preset paper-transfer --arch t3d_121 --devices 8 --batch-size 4",
        time="not measured here; 150 epochs of about 500 000 clips are a matter of weeks on eight GPUs",
        expected="then 91.7 % on UCF101, 61.1 % on HMDB51, not 90.3 and 59.2 (published; not reproduced here)",
        config=TransferConfig(
            data=_DATA,
            preset="paper-transfer",
            teacher=_PAPER_TEACHER,
            pairs=PairOptions(negatives="independent"),
            augment=AugmentSpec(crop="random"),
            optimizer=OptimizerOptions(batch_size=32),
            schedule=ScheduleOptions(epochs=150, schedule="step", step_epochs=30),
            run=RunOptions(bad_videos="skip"),
        ),
    ),
    ("pipeline", "quick"): Preset(
        command="t3d pipeline transfer DATA",
        time="minutes on two CPU cores for a few hundred short videos, for each step",
        expected="see docs/results: what a transfer brings over training from scratch",
        config=PipelineConfig(
            pipeline="transfer",
            data=_DATA,
            teacher=_QUICK_TEACHER,
            model=_QUICK.model,
            clip=_QUICK.clip,
            pixels=_QUICK.pixels,
            augment=_QUICK.augment,
        ),
    ),
    ("pipeline", "paper"): Preset(
        command="t3d pipeline ft-transfer UCF-101 --unlabelled VIDEOS --large KINETICS --preset paper --arch t3d_121",
        time="not measured here; the sum of its steps, which are the presets above",
        expected="see the presets of its steps",
        config=PipelineConfig(pipeline="transfer", data=_DATA, preset="paper", teacher=_PAPER_TEACHER),
    ),
}
"""By command and name. Flags that a pipeline does not have come from the presets of its steps."""


def preset(name: str) -> TrainConfig:
    """Defaults of a named preset of `t3d train`; its `data` is a placeholder.

    Raises:
        ConfigError: No preset has this name.
    """
    return _named("train", name, TrainConfig)


def transfer_preset(name: str) -> TransferConfig:
    """Defaults of a named preset of `t3d transfer`; its `data` is a placeholder.

    Raises:
        ConfigError: No preset has this name.
    """
    return _named("transfer", name, TransferConfig)


def pipeline_preset(name: str) -> PipelineConfig:
    """Defaults of a named preset of `t3d pipeline`; its `pipeline` and `data` are placeholders.

    Raises:
        ConfigError: No preset has this name.
    """
    return _named("pipeline", name, PipelineConfig)


def preset_names(command: str) -> tuple[str, ...]:
    """Names of the presets of a command; empty if it has no flag --preset."""
    return tuple(name for verb, name in PRESETS if verb == command)


def _named(command: str, name: str, kind: type[Config]) -> Config:
    if (command, name) not in PRESETS:
        raise ConfigError(unknown("preset", name, preset_names(command)))
    config = PRESETS[command, name].config
    assert isinstance(config, kind)
    return config
