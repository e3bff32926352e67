"""Run a protocol of several steps; each step is a run that starts from the weights of the previous one."""

from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from t3d.commands import evaluate, train, transfer
from t3d.commands._console import log
from t3d.commands._training import default_flags
from t3d.config import (
    EvaluateConfig,
    LabelOptions,
    PipelineConfig,
    ScheduleOptions,
    ScoringOptions,
    StartOptions,
    TrainConfig,
    TransferConfig,
)
from t3d.config.presets import preset, transfer_preset
from t3d.run_files import STATE_NAME, SUMMARY_NAME
from t3d.training.run_dir import check_same_training


@dataclass(frozen=True, kw_only=True)
class Step:
    """One training of a pipeline."""

    folder: Path
    config: TrainConfig | TransferConfig


def run(config: PipelineConfig, *, command: str) -> dict[str, Any]:
    """Run the unfinished steps of a pipeline; return the content of the last run's `metrics.json`.

    Raises:
        ConfigError: A step in the output folder was run with other flags.
    """
    steps = _PIPELINES[config.pipeline](config)
    for number, step in enumerate(steps, start=1):
        place = f"step {number} of {len(steps)}, {step.folder}"
        if (step.folder / SUMMARY_NAME).exists():
            check_same_training(step.folder, asdict(step.config), defaults=default_flags(step.config))
            log(f"{place}: done before")
            continue
        log(place)
        begun = (step.folder / STATE_NAME).exists()
        settings = replace(step.config, output=step.folder, resume=begun)
        if isinstance(settings, TransferConfig):
            transfer.run(settings, command=command)
        else:
            train.run(settings, command=command)
    options = config.run
    scoring = ScoringOptions(
        workers=options.workers, accelerator=options.accelerator, precision=options.precision, backend=options.backend
    )
    last = steps[-1].folder
    return evaluate.run(EvaluateConfig(weights=last, output=last, scoring=scoring), command=command)


def show(metrics: dict[str, Any], config: PipelineConfig) -> int:
    """Print the metrics on the test videos."""
    return evaluate.show(metrics, EvaluateConfig(weights=config.output))


def _scratch(config: PipelineConfig) -> list[Step]:
    return [Step(folder=_folder(config, "scratch"), config=_training(config, "paper-ucf101-scratch"))]


def _transfer(config: PipelineConfig) -> list[Step]:
    first = Step(folder=_folder(config, "transfer"), config=_teaching(config))
    return [first, _finetuning(config, StartOptions(init=first.folder))]


def _ft_transfer(config: PipelineConfig) -> list[Step]:
    assert config.large is not None
    first = Step(folder=_folder(config, "transfer"), config=_teaching(config))
    half = replace(
        _training(config, "paper-kinetics"),
        data=config.large,
        split=1,
        start=StartOptions(init=first.folder),
        labels=LabelOptions(train_fraction=0.5),
    )
    large = Step(folder=_folder(config, "large"), config=half)
    return [first, large, _finetuning(config, StartOptions(init=large.folder))]


def _inflation(config: PipelineConfig) -> list[Step]:
    flat = replace(
        _training(config, "paper-ucf101-scratch"),
        model=replace(config.model, twin=True),
        clip=replace(config.clip, num_frames=1, frame_stride=1),
    )
    twin = Step(folder=_folder(config, "twin"), config=flat)
    return [twin, _finetuning(config, StartOptions(init=twin.folder, inflate="centre"))]


_PIPELINES: dict[str, Callable[[PipelineConfig], list[Step]]] = {
    "scratch": _scratch,
    "transfer": _transfer,
    "ft-transfer": _ft_transfer,
    "inflation": _inflation,
}


def _folder(config: PipelineConfig, step: str) -> Path:
    """Folder of a step; each pipeline has its own, so that several may share an output folder."""
    return config.output / config.pipeline / step


def _finetuning(config: PipelineConfig, start: StartOptions) -> Step:
    settings = _training(config, "paper-finetune")
    start = replace(start, layer_decay=settings.start.layer_decay)
    return Step(folder=_folder(config, "finetuned"), config=replace(settings, start=start))


def _training(config: PipelineConfig, paper: str) -> TrainConfig:
    """Flags of a training on labelled DATA, from a preset of `t3d train`."""
    base = preset("quick" if config.preset == "quick" else paper)
    schedule = _schedule(base.schedule, config)
    return replace(base, data=config.data, split=config.split, schedule=schedule, run=config.run, **_shared(config))


def _teaching(config: PipelineConfig) -> TransferConfig:
    """Flags of a transfer, from a preset of `t3d transfer`; of all videos, or of the training videos of DATA."""
    base = transfer_preset("quick" if config.preset == "quick" else "paper-transfer")
    return replace(
        base,
        data=config.unlabelled or config.data,
        split=config.split if config.unlabelled is None else None,
        teacher=config.teacher,
        schedule=_schedule(base.schedule, config),
        run=replace(config.run, bad_videos=base.run.bad_videos),
        **_shared(config),
    )


def _shared(config: PipelineConfig) -> dict[str, Any]:
    return {name: getattr(config, name) for name in ("model", "clip", "pixels", "augment")}


def _schedule(schedule: ScheduleOptions, config: PipelineConfig) -> ScheduleOptions:
    if config.updates is None:
        return schedule
    return replace(schedule, min_steps=config.updates, max_steps=config.updates)
