"""Commands that train: train, transfer, pipeline, demo."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated

from tyro.conf import Positional, arg

from t3d.bounds import at_least, check_bounds
from t3d.config.fields import Format, Pipeline, Seed
from t3d.config.options import (
    LabelOptions,
    ModelOptions,
    OptimizerOptions,
    PairOptions,
    ProbeOptions,
    RunOptions,
    ScheduleOptions,
    SelectionOptions,
    StartOptions,
    TeacherOptions,
)
from t3d.errors import ConfigError
from t3d.video.spec import AugmentSpec, ClipSpec, PixelSpec, SegmentSpec


@dataclass(frozen=True, kw_only=True)
class TrainConfig:
    """Train a network on labelled videos."""

    data: Annotated[Positional[Path], arg(metavar="DATA")]
    """Folder or CSV/Parquet file of labelled videos, or `temporal-shapes`, the built-in data."""
    output: Path = Path("runs/latest")
    """Folder for the weights, the configuration and the log."""
    preset: str = "quick"
    """Set of defaults: quick, paper-kinetics, paper-ucf101-scratch or paper-finetune."""
    split: int = 1
    """Number of the official split, or of the fold if there is none."""
    format: Format | None = None
    """Dataset format of DATA, if it is not recognised."""
    resume: bool = False
    """Go on with the unfinished run in the output folder."""
    overwrite: bool = False
    """Replace a finished run in the output folder."""
    recompute_segments: bool = False
    """Store the activations of one segment only and recompute them; batch norm then sees one segment at a time."""
    start: StartOptions = field(default_factory=StartOptions)
    labels: LabelOptions = field(default_factory=LabelOptions)
    model: ModelOptions = field(default_factory=ModelOptions)
    clip: ClipSpec = field(default_factory=ClipSpec)
    segments: SegmentSpec = field(default_factory=SegmentSpec)
    pixels: PixelSpec = field(default_factory=PixelSpec)
    augment: AugmentSpec = field(default_factory=AugmentSpec)
    optimizer: OptimizerOptions = field(default_factory=OptimizerOptions)
    schedule: ScheduleOptions = field(default_factory=ScheduleOptions)
    selection: SelectionOptions = field(default_factory=SelectionOptions)
    run: RunOptions = field(default_factory=RunOptions)

    def __post_init__(self) -> None:
        _check_learning(self)
        _check_train(self)


@dataclass(frozen=True, kw_only=True)
class TransferConfig:
    """Train a 3D network without labels to match a frozen 2D network: do these frames and this clip match?"""

    data: Annotated[Positional[Path], arg(metavar="DATA")]
    """Folder, list or CSV of videos, at any depth; labels are ignored. Or `temporal-shapes`."""
    output: Path = Path("runs/transfer")
    """Folder for the weights, the configuration and the log."""
    preset: str = "quick"
    """Set of defaults: quick or paper-transfer."""
    split: int | None = None
    """Treat DATA as a labelled dataset and use the training videos of this split, without their labels."""
    format: Format | None = None
    """Dataset format of DATA with --split, if it is not recognised."""
    resume: bool = False
    """Go on with the unfinished run in the output folder."""
    overwrite: bool = False
    """Replace a finished run in the output folder."""
    teacher: TeacherOptions = field(default_factory=TeacherOptions)
    pairs: PairOptions = field(default_factory=PairOptions)
    probe: ProbeOptions = field(default_factory=ProbeOptions)
    model: ModelOptions = field(default_factory=ModelOptions)
    clip: ClipSpec = field(default_factory=ClipSpec)
    pixels: PixelSpec = field(default_factory=PixelSpec)
    augment: AugmentSpec = field(default_factory=AugmentSpec)
    optimizer: OptimizerOptions = field(default_factory=OptimizerOptions)
    schedule: ScheduleOptions = field(default_factory=ScheduleOptions)
    run: RunOptions = field(default_factory=RunOptions)

    def __post_init__(self) -> None:
        _check_learning(self)
        _check_transfer(self)


@dataclass(frozen=True, kw_only=True)
class PipelineConfig:
    """Run all steps from videos to a tested network: from scratch, by transfer, or from an inflated 2D twin."""

    pipeline: Annotated[Positional[Pipeline], arg(metavar="PIPELINE")]
    """scratch; transfer: pairs, then DATA; ft-transfer: pairs, half of --large, DATA; inflation: 2D twin, DATA."""
    data: Annotated[Positional[Path], arg(metavar="DATA")]
    """Labelled videos, as for `t3d train`: the network is tested on their test list."""
    unlabelled: Path | None = None
    """Unlabelled videos for the pairs; default: the training videos of DATA without their labels."""
    large: Path | None = None
    """Labelled videos for the middle step, half of each class (ft-transfer)."""
    output: Path = Path("runs/pipeline")
    """Folder for the runs of all steps, PIPELINE/STEP; finished steps are not repeated."""
    preset: str = "quick"
    """Set of defaults: quick or paper."""
    split: int = 1
    """Number of the official split of DATA, or of the fold if there is none."""
    updates: Annotated[int | None, at_least(1)] = None
    """Updates of every step, instead of the preset's."""
    teacher: TeacherOptions = field(default_factory=TeacherOptions)
    model: ModelOptions = field(default_factory=ModelOptions)
    clip: ClipSpec = field(default_factory=ClipSpec)
    pixels: PixelSpec = field(default_factory=PixelSpec)
    augment: AugmentSpec = field(default_factory=AugmentSpec)
    run: RunOptions = field(default_factory=RunOptions)

    def __post_init__(self) -> None:
        check_bounds(self)
        _check_flow(self.clip, self.pixels, self.augment)
        if (self.pipeline == "ft-transfer") != (self.large is not None):
            raise ConfigError("--large DATA belongs to the pipeline ft-transfer, and only to it")
        if self.unlabelled is not None and "transfer" not in self.pipeline:
            raise ConfigError(f"--unlabelled {self.unlabelled}: the pipeline {self.pipeline} uses no unlabelled videos")


LearningConfig = TrainConfig | TransferConfig
"""Flags of the commands that share network, optimizer, schedule and run options."""


@dataclass(frozen=True, kw_only=True)
class DemoConfig:
    """Render moving shapes, train on them, evaluate, predict, and write a report."""

    output: Path = Path("runs/demo")
    """Folder for the run."""
    seed: Seed = 0
    """Seed of the run."""
    shuffle_frames: bool = False
    """Control: permute the frames of every clip, in training and testing, so that only appearance is left."""

    def __post_init__(self) -> None:
        check_bounds(self)


def _check_learning(config: LearningConfig) -> None:
    check_bounds(config)
    _check_flow(config.clip, config.pixels, config.augment)
    run = config.run
    if run.recompute and run.compile:
        raise ConfigError("--recompute changes nothing with --compile, which sees the plain layers; give one")
    if run.recompute and run.plain:
        raise ConfigError("--recompute is of the fused steps, which --plain leaves out; give one")
    if config.resume and config.overwrite:
        raise ConfigError("--resume continues a run and --overwrite replaces it; give one")


def _check_train(config: TrainConfig) -> None:
    start, labels, schedule = config.start, config.labels, config.schedule
    needs_validation = {"--schedule plateau": schedule.schedule == "plateau"}
    needs_validation["--early-stop-epochs"] = schedule.early_stop_epochs is not None
    for flag, wanted in needs_validation.items():
        if wanted and config.selection.select_on == "none":
            raise ConfigError(f"{flag} watches validation loss, but --select-on is none; use --select-on validation")
    if config.recompute_segments and not config.segments.enabled:
        raise ConfigError("--recompute-segments goes through several segments one by one; give --segments 2 or more")
    if config.recompute_segments and config.run.compile:
        raise ConfigError("--recompute-segments and --compile exclude each other; give one")
    if config.recompute_segments and config.run.devices * config.run.nodes > 1:
        raise ConfigError("--recompute-segments works on one device only; lower --batch-size and raise --accumulate")
    if labels.labels_per_class is not None and labels.train_fraction is not None:
        raise ConfigError("--labels-per-class and --train-fraction exclude each other; give one")
    for flag, wanted in {"--inflate": start.inflate is not None, "--keep-fc": start.keep_fc}.items():
        if wanted and start.init is None:
            raise ConfigError(f"{flag} says how to use the weights of --init; give --init RUN")


def _check_transfer(config: TransferConfig) -> None:
    teacher, pairs = config.teacher, config.pairs
    if config.optimizer.batch_size < 2:
        raise ConfigError(f"--batch-size {config.optimizer.batch_size} must be at least 2: clips are told from others")
    if pairs.contrastive and pairs.negatives == "independent":
        raise ConfigError("--contrastive wants each clip with its own pictures; use --negatives in-batch")
    if teacher.live and pairs.control == "shuffled-pairs":
        raise ConfigError("--control shuffled-pairs exchanges features computed once for all; leave out --live")
    if config.probe.probe is not None and pairs.control == "colour-statistics":
        raise ConfigError("--probe judges a student, and --control colour-statistics has none; leave one out")
    if config.pixels.modality == "flow":
        raise ConfigError("--modality flow: a transfer needs the pictures for its teacher; use --modality difference")
    if config.split is None and config.format is not None:
        raise ConfigError("--format is of a labelled dataset; give --split, or leave it out")


def _check_flow(clip: ClipSpec, pixels: PixelSpec, augment: AugmentSpec) -> None:
    if pixels.modality == "flow" and clip.order == "shuffled":
        raise ConfigError(
            "--order shuffled: --modality flow is found between neighbours of the video before the order is changed, "
            "so the control would leave motion in; use --modality rgb or difference"
        )
    for name in ("brightness", "contrast", "saturation", "hue"):
        if pixels.modality == "flow" and getattr(augment, name):
            raise ConfigError(f"--{name} is of pictures, and --modality flow has no colours; leave it out")
