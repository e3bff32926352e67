"""What each command can be told, and the defaults; the presets of a training are in `t3d.presets`.

Field docstrings become the help of the command line. Only `t3d.cli` and `t3d.recipes` see these classes; below them go
plain arguments and the small value objects of `t3d.video.spec`. Nothing here imports torch, so `--help` is instant.
"""

import math
import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Literal

from tyro.conf import Positional, arg

from t3d.errors import ConfigError
from t3d.video.spec import AugmentSpec, ClipSpec, PixelSpec, SegmentSpec, ViewSpec

Format = Literal["ucf101", "hmdb51", "kinetics", "folder", "csv"]
Accelerator = Literal["auto", "cpu", "cuda"]
Precision = Literal["32-true", "bf16-mixed", "16-mixed"]
Backend = Literal["pyav", "torchcodec"]
Layout = Literal[
    "auto",
    "t3d_authors",
    "torchvision_densenet",
    "torchvision_resnet",
    "torchvision_r3d",
    "hara_resnet",
    "hara_densenet",
    "i3d",
    "c3d",
    "c3d_jfzhang",
    "c3d_mmaction2",
]
Flow = Literal["scratch", "transfer", "ft-transfer", "inflation"]


@dataclass(frozen=True, kw_only=True)
class ModelOptions:
    """The network."""

    arch: str = "t3d_121"
    """Name of the architecture; `t3d models` lists them."""
    head: Literal["published", "mean"] = "published"
    """The mean of the last map suits clips of every size; C3D and I3D are published with heads that do not."""
    dropout: float | None = None
    """Share of values set to zero in training, not the network's own: new channels of a DenseNet, else features."""
    ttl_compress: bool = False
    """Add the 1x1x1 convolution after the concatenation that the authors' deleted code had (T3D only)."""
    keep_last_plane: bool = False
    """Stop halving time once one plane is left, so that very short clips work."""
    twin: bool = False
    """Build the 2D twin: every kernel, stride and pool is 1 in time."""
    overrides: tuple[str, ...] = ()
    """Other literals of the network as NAME=JSON, such as ttl_width=64 or ttl_depths=[[1,3,3],[1,3,3],[1,3,3]]."""


@dataclass(frozen=True, kw_only=True)
class StartOptions:
    """What the training starts from."""

    init: Path | None = None
    """Run folder or weights file to start from; the head is new where the classes differ."""
    inflate: Literal["centre", "repeat"] | None = None
    """The weights of --init are 2D: give each kernel to the plane in the centre, or to all planes alike."""
    keep_fc: bool = False
    """Keep the 1024-wide layer that a transfer put on the network, before the new head."""
    freeze: int = 0
    """Keep the first stages at their initial weights: 1 = stem, 2 = and block 1, ... 6 = all but the classifier."""
    layer_decay: float = 1.0
    """Each stage below the head learns at this fraction of the rate of the one above it."""


@dataclass(frozen=True, kw_only=True)
class LabelOptions:
    """Which labels are learnt, and how they are weighed."""

    labels_per_class: int | None = None
    """Train on so many videos of each class only, drawn by the seed."""
    train_fraction: float | None = None
    """Train on this share of each class only, drawn by the seed."""
    label_smoothing: float = 0.0
    """Share of the target given to all classes alike."""
    balance: Literal["none", "loss", "sampler"] = "none"
    """Make up for rare classes: weigh their loss, or draw their videos more often."""


@dataclass(frozen=True, kw_only=True)
class OptimizerOptions:
    """Stochastic gradient descent."""

    batch_size: int = 64
    """Clips in one update on one device, before accumulation."""
    accumulate: int = 1
    """Batches summed up before one update: the same update in a fraction of the memory."""
    lr: float = 0.1
    """Learning rate of the head after warm-up."""
    momentum: float = 0.9
    """Momentum of SGD."""
    nesterov: bool = True
    """Nesterov's form of momentum."""
    weight_decay: float = 1e-4
    """L2 penalty on every parameter, as the paper has it."""
    clip_norm: float | None = None
    """Scale the gradient down to this norm where it is larger."""
    ema_decay: float | None = None
    """Evaluate an exponential moving average of the weights with this decay, such as 0.99."""


@dataclass(frozen=True, kw_only=True)
class ScheduleOptions:
    """How long, and how the learning rate moves."""

    epochs: int = 200
    """Passes over the training videos."""
    min_steps: int = 0
    """At least so many updates: a small folder is gone through more often than `epochs`."""
    max_steps: int | None = None
    """Stop after so many updates, whatever `epochs` says."""
    schedule: Literal["plateau", "step", "cosine"] = "plateau"
    """Divide when validation loss stops falling, at fixed epochs, or follow half a cosine to zero."""
    warmup_steps: int = 0
    """Updates over which the rate rises linearly from zero."""
    step_epochs: int = 30
    """Epochs between two divisions of the `step` schedule."""
    decay_factor: float = 0.1
    """What `step` and `plateau` multiply the rate by."""
    plateau_patience: int = 10
    """Epochs without a lower validation loss before `plateau` divides."""
    early_stop_epochs: int | None = None
    """Stop after so many epochs without a lower validation loss."""


@dataclass(frozen=True, kw_only=True)
class SelectionOptions:
    """Which epoch's weights become the result."""

    select_on: Literal["none", "validation", "test"] = "validation"
    """Keep the best epoch on validation videos, or none: the last one. `test` is dishonest; every result says so."""
    validation_fraction: float = 0.1
    """Share of the training videos, in whole groups, held out where the dataset has no validation list."""
    allow_shared_groups: bool = False
    """Go on although training and test videos share a group (a person, a source); every result says so."""


@dataclass(frozen=True, kw_only=True)
class RunOptions:
    """The machine."""

    seed: int = 0
    """Seed of the initial weights, the order of videos, the clips and the crops."""
    workers: int = 2
    """Processes that decode videos."""
    devices: int = 1
    """Devices on this machine, one process each."""
    nodes: int = 1
    """Machines; start the same command on each with torchrun or SLURM."""
    accelerator: Accelerator = "auto"
    """Where to compute."""
    precision: Precision = "32-true"
    """Number format of the arithmetic; bf16 wants a recent GPU."""
    backend: Backend = "pyav"
    """Library that decodes videos."""
    checkpoint_steps: int = 200
    """Updates between two savings of the state that `--resume` continues from; each epoch's end saves, too."""
    bad_videos: Literal["stop", "skip"] = "stop"
    """A training video that cannot be decoded stops the run, or is left out and listed in `skipped.csv`."""


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
    """Number of the official split, or of the fold where there is none."""
    format: Format | None = None
    """Layout of DATA, where it is not recognised by itself."""
    resume: bool = False
    """Go on with the unfinished run in the output folder."""
    overwrite: bool = False
    """Replace a finished run in the output folder."""
    recompute_segments: bool = False
    """Hold the activations of one segment only and compute each twice; batch norm then sees one at a time, too."""
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
class TeacherOptions:
    """The frozen 2D network, and what it sees of a clip."""

    teacher: str = "densenet121"
    """densenet121, 161, 169, 201 (ImageNet), efficientnet_lite0, or FILE.py:FUNCTION for your own."""
    teacher_weights: Path | None = None
    """Local weights file of the teacher, instead of a download."""
    teacher_size: int | None = None
    """Edge in pixels of the pictures it sees, instead of its own."""
    pictures: int = 32
    """Frames of each clip it sees, evenly spaced; their features are averaged."""
    live: bool = False
    """Run the teacher on random crops of random clips in every epoch, as the paper did, instead of once for all."""
    windows: int = 10
    """Places in a long video that are looked at, once for all; with --live clips begin anywhere."""


@dataclass(frozen=True, kw_only=True)
class PairOptions:
    """What is to be told apart."""

    negatives: Literal["in-batch", "independent"] = "in-batch"
    """Each clip also meets pictures of another clip of its batch; or each pair is drawn by itself, as in the paper."""
    hard_negatives: bool = False
    """Each clip also meets pictures of another time of its own video."""
    contrastive: float = 0.0
    """Weight of a symmetric contrastive loss added to that of the pairs."""
    matcher_norm: bool = False
    """Batch normalisation of both 1024-wide features before they are matched."""
    holdout_fraction: float = 0.1
    """Share of the videos on which matching is measured and nothing is learnt."""
    control: Literal["none", "shuffled-pairs", "colour-statistics"] = "none"
    """Sanity checks: pictures of the wrong video, or nothing but mean and deviation of each colour on both sides."""


@dataclass(frozen=True, kw_only=True)
class ProbeOptions:
    """What the frozen network is worth on labelled videos, measured at the end and used for nothing."""

    probe: Path | None = None
    """Labelled videos for nearest neighbours and a linear classifier, with a training and a test list."""
    probe_split: int = 1
    """Number of their split."""
    probe_format: Format | None = None
    """Their layout, where it is not recognised by itself."""


@dataclass(frozen=True, kw_only=True)
class TransferConfig:
    """Teach a fresh 3D network, without labels, by a frozen 2D network: do these frames and this clip match?"""

    data: Annotated[Positional[Path], arg(metavar="DATA")]
    """Folder, list or CSV of videos, at any depth; labels are not looked at. Or `temporal-shapes`."""
    output: Path = Path("runs/transfer")
    """Folder for the weights, the configuration and the log."""
    preset: str = "quick"
    """Set of defaults: quick or paper-transfer."""
    split: int | None = None
    """Take DATA for a labelled dataset and use the training videos of this split only, without their labels."""
    format: Format | None = None
    """Layout of DATA with --split, where it is not recognised by itself."""
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
class FlowConfig:
    """Go the whole way from videos to a tested network: from scratch, by transfer, or from an inflated 2D twin."""

    flow: Annotated[Positional[Flow], arg(metavar="FLOW")]
    """scratch; transfer: pairs, then DATA; ft-transfer: pairs, half of --large, DATA; inflation: 2D twin, DATA."""
    data: Annotated[Positional[Path], arg(metavar="DATA")]
    """Labelled videos, as for `t3d train`: the network is tested on their test list."""
    unlabelled: Path | None = None
    """Videos to learn from pairs; left out, the training videos of DATA without their labels."""
    large: Path | None = None
    """Labelled videos of which half of each class is learnt in between (ft-transfer)."""
    output: Path = Path("runs/flow")
    """Folder for a run of every step, as FLOW/STEP; what is finished there is not done again."""
    preset: str = "quick"
    """Set of defaults: quick or paper."""
    split: int = 1
    """Number of the official split of DATA, or of the fold where there is none."""
    updates: int | None = None
    """Updates of every step, instead of what the preset says."""
    teacher: TeacherOptions = field(default_factory=TeacherOptions)
    model: ModelOptions = field(default_factory=ModelOptions)
    clip: ClipSpec = field(default_factory=ClipSpec)
    pixels: PixelSpec = field(default_factory=PixelSpec)
    augment: AugmentSpec = field(default_factory=AugmentSpec)
    run: RunOptions = field(default_factory=RunOptions)

    def __post_init__(self) -> None:
        _at_least(1, updates=self.updates)
        if (self.flow == "ft-transfer") != (self.large is not None):
            raise ConfigError("--large DATA belongs to the flow ft-transfer, and only to it")
        if self.unlabelled is not None and "transfer" not in self.flow:
            raise ConfigError(f"--unlabelled {self.unlabelled}: the flow {self.flow} uses no unlabelled videos")


LearningConfig = TrainConfig | TransferConfig
"""What has a network, an optimizer, a schedule and a machine."""


@dataclass(frozen=True, kw_only=True)
class ScoringOptions:
    """How a video becomes clips and scores."""

    views: ViewSpec = field(default_factory=ViewSpec)
    workers: int = 2
    """Processes that decode videos."""
    accelerator: Accelerator = "auto"
    """Where to compute."""
    precision: Precision = "32-true"
    """Number format of the arithmetic."""
    backend: Backend = "pyav"
    """Library that decodes videos."""

    def __post_init__(self) -> None:
        _check_workers(self.workers)


@dataclass(frozen=True, kw_only=True)
class EvaluateConfig:
    """Score a trained run on labelled videos, clip by clip and video by video."""

    weights: Annotated[Positional[Path], arg(metavar="RUN")]
    """Run folder or weights file."""
    data: Annotated[Positional[Path | None], arg(metavar="DATA")] = None
    """Labelled videos; left out, those the run was trained on (their test list)."""
    output: Path | None = None
    """Folder for metrics, predictions and report; left out, the run folder, or its `validation` or `train`; of a file
    NAME.safetensors the folder NAME beside it instead."""
    split: int | None = None
    """Number of the split; left out, the run's."""
    subset: Literal["test", "validation", "train"] = "test"
    """Which list of the split; where it has no validation list, the videos that --select-on validation held out."""
    format: Format | None = None
    """Layout of DATA, where it is not recognised by itself."""
    predictions: Literal["csv", "parquet"] = "csv"
    """File format of the predictions."""
    devices: int = 1
    """Devices on this machine, one process each."""
    scoring: ScoringOptions = field(default_factory=ScoringOptions)

    def __post_init__(self) -> None:
        _at_least(1, devices=self.devices)


@dataclass(frozen=True, kw_only=True)
class FuseConfig:
    """Add up the scores of several evaluated runs of the same videos: late fusion, such as of pictures and flow."""

    runs: Annotated[Positional[tuple[Path, ...]], arg(metavar="RUN")] = ()
    """Run folders that t3d evaluate has been through, two or more."""
    output: Path = Path("runs/fused")
    """Folder for metrics, predictions and report."""
    weights: tuple[float, ...] = ()
    """How much each run counts; left out, fitted on RUN/validation (t3d evaluate RUN --subset validation)."""

    def __post_init__(self) -> None:
        if len(self.runs) < 2:
            raise ConfigError("give two run folders or more to fuse, such as: t3d fuse runs/rgb runs/flow")
        _check_named_once(self.runs)
        if self.output.resolve() in [path.resolve() for path in self.runs]:
            raise ConfigError(f"--output {self.output}: is one of the runs; name another folder")
        if self.weights and len(self.weights) != len(self.runs):
            raise ConfigError(f"--weights: {len(self.weights)} values for {len(self.runs)} runs; give one a run")
        if self.weights and not (min(self.weights) >= 0 and 0 < sum(self.weights) < math.inf):
            raise ConfigError(f"--weights {self.weights} must be at least 0, and not all 0")


@dataclass(frozen=True, kw_only=True)
class PredictConfig:
    """Say what happens in videos."""

    weights: Annotated[Positional[Path], arg(metavar="RUN")]
    """Run folder or weights file."""
    files: Annotated[Positional[tuple[Path, ...]], arg(metavar="FILE")] = ()
    """Videos, or folders of videos."""
    top: int = 5
    """Classes listed for each video."""
    json: bool = False
    """Print JSON."""
    csv: bool = False
    """Print CSV."""
    timeline: Path | None = None
    """Folder for a picture, a CSV and an annotated copy of each video, clip after clip."""
    scoring: ScoringOptions = field(default_factory=ScoringOptions)

    def __post_init__(self) -> None:
        _at_least(1, top=self.top)
        if not self.files:
            raise ConfigError("give videos or folders of videos to predict, such as: t3d predict RUN clip.mp4")
        if self.json and self.csv:
            raise ConfigError("--json and --csv exclude each other; give one")


@dataclass(frozen=True, kw_only=True)
class CompareConfig:
    """Table the metrics of several evaluated runs, and say whether those of the same videos differ."""

    runs: Annotated[Positional[tuple[Path, ...]], arg(metavar="RUN")]
    """Run folders that hold a metrics.json, and predictions to be compared video by video."""
    baseline: Path | None = None
    """The one of them that the others are set against; left out, each against each, beyond four against the first."""
    output: Path | None = None
    """Markdown file for the tables."""
    json: Path | None = None
    """JSON file for the same figures."""
    flips: Path | None = None
    """CSV file of the videos that some runs name correctly and others do not."""

    def __post_init__(self) -> None:
        if not self.runs:
            raise ConfigError("give run folders to compare, such as runs/split1 runs/split2 runs/split3")
        _check_named_once(self.runs)
        if self.baseline is not None and self.baseline not in self.runs:
            raise ConfigError(f"--baseline {self.baseline} is none of the runs; name it among them, too")


@dataclass(frozen=True, kw_only=True)
class ConvertConfig:
    """Turn weights that others published into a file of ours; docs/checkpoints.md says which."""

    file: Annotated[Positional[Path], arg(metavar="FILE")]
    """A .pth, .pt or .safetensors file of tensors; code in it is not run."""
    layout: Annotated[Layout, arg(name="from")] = "auto"
    """Who wrote the file; `auto` goes by the names of its tensors."""
    output: Path | None = None
    """File to write; left out, the name of FILE with .safetensors."""
    arch: str | None = None
    """Name of the architecture, where it is none that the layout is known for."""
    labels: Path | None = None
    """Names of the classes in the order of the outputs: lines of text, a CSV of numbers and names, or JSON."""
    bgr: bool = False
    """The network was trained on blue, green, red; where this is known of a layout, it need not be said."""

    def __post_init__(self) -> None:
        if self.output is not None and self.output.suffix != ".safetensors":
            raise ConfigError(f"--output {self.output} must end in .safetensors")


@dataclass(frozen=True, kw_only=True)
class DataConfig:
    """Show what a dataset holds: classes, videos, groups, missing files."""

    data: Annotated[Positional[Path], arg(metavar="DATA")]
    """Folder or CSV/Parquet file of labelled videos, or `temporal-shapes`."""
    split: int = 1
    """Number of the split."""
    format: Format | None = None
    """Layout of DATA, where it is not recognised by itself."""
    decode: bool = False
    """Also decode every video of the split once, and list those that fail."""


@dataclass(frozen=True, kw_only=True)
class ModelsConfig:
    """List the networks with their parameters, native input and cost, counted or measured."""

    arch: tuple[str, ...] = ()
    """Names of the networks to list; left out, all."""
    measure: bool = False
    """Also measure milliseconds and peak memory of a clip, at the native input and at one common to all (minutes)."""
    input: tuple[int, int, int] | None = None
    """Frames, height and width of the common input; with --measure 16 112 112 where left out."""
    output: Path | None = None
    """Markdown file for the table."""
    json: bool = False
    """Print JSON."""

    def __post_init__(self) -> None:
        if self.input is not None and min(self.input) < 1:
            raise ConfigError(f"--input {' '.join(map(str, self.input))} must be three lengths of at least 1")


@dataclass(frozen=True, kw_only=True)
class DemoConfig:
    """Render moving shapes, train on them, evaluate, predict, and write a report."""

    output: Path = Path("runs/demo")
    """Folder for the run."""
    seed: int = 0
    """Seed of the run."""
    shuffle_frames: bool = False
    """Control: permute the frames of every clip, in training and testing, so that only appearance is left."""


def _check_named_once(runs: tuple[Path, ...]) -> None:
    if len({path.resolve() for path in runs}) < len(runs):
        raise ConfigError("a run is named twice; name each once")


def _check_learning(config: "LearningConfig") -> None:
    optimizer, schedule, run = config.optimizer, config.schedule, config.run
    _at_least(1, batch_size=optimizer.batch_size, accumulate=optimizer.accumulate, epochs=schedule.epochs)
    _at_least(1, max_steps=schedule.max_steps, step_epochs=schedule.step_epochs)
    _at_least(1, early_stop_epochs=schedule.early_stop_epochs)
    _at_least(1, devices=run.devices, nodes=run.nodes, checkpoint_steps=run.checkpoint_steps)
    _check_workers(run.workers)
    _at_least(0, warmup_steps=schedule.warmup_steps, min_steps=schedule.min_steps)
    _at_least(0, plateau_patience=schedule.plateau_patience, seed=run.seed)
    _at_least(0, lr=optimizer.lr, weight_decay=optimizer.weight_decay, clip_norm=optimizer.clip_norm)
    _share(momentum=optimizer.momentum, ema_decay=optimizer.ema_decay, decay_factor=schedule.decay_factor)
    _check_flow(config.clip, config.pixels, config.augment)
    if run.seed >= 2**32:
        raise ConfigError(f"--seed {run.seed} must be below 2**32")
    if optimizer.clip_norm == 0:
        raise ConfigError("--clip-norm 0 would stop all learning; leave it out, or use 1")
    if config.resume and config.overwrite:
        raise ConfigError("--resume continues a run and --overwrite replaces it; give one")


def _check_train(config: TrainConfig) -> None:
    start, labels, schedule = config.start, config.labels, config.schedule
    _at_least(0, freeze=start.freeze)
    _at_least(1, labels_per_class=labels.labels_per_class)
    _share(layer_decay=start.layer_decay, label_smoothing=labels.label_smoothing, train_fraction=labels.train_fraction)
    needs_validation = {"--schedule plateau": schedule.schedule == "plateau"}
    needs_validation["--early-stop-epochs"] = schedule.early_stop_epochs is not None
    for flag, wanted in needs_validation.items():
        if wanted and config.selection.select_on == "none":
            raise ConfigError(f"{flag} watches validation loss, but --select-on is none; use --select-on validation")
    if not 0 < config.selection.validation_fraction < 1:
        raise ConfigError(f"--validation-fraction {config.selection.validation_fraction} must lie between 0 and 1")
    if config.recompute_segments and not config.segments.enabled:
        raise ConfigError("--recompute-segments goes through several segments one by one; give --segments 2 or more")
    if config.recompute_segments and config.run.devices * config.run.nodes > 1:
        raise ConfigError("--recompute-segments works on one device only; lower --batch-size and raise --accumulate")
    if labels.labels_per_class is not None and labels.train_fraction is not None:
        raise ConfigError("--labels-per-class and --train-fraction exclude each other; give one")
    for flag, wanted in {"--inflate": start.inflate is not None, "--keep-fc": start.keep_fc}.items():
        if wanted and start.init is None:
            raise ConfigError(f"{flag} says how to use the weights of --init; give --init RUN")


def _check_transfer(config: TransferConfig) -> None:
    teacher, pairs = config.teacher, config.pairs
    _at_least(1, teacher_size=teacher.teacher_size, pictures=teacher.pictures, windows=teacher.windows)
    _at_least(2, batch_size=config.optimizer.batch_size)
    _at_least(0, contrastive=pairs.contrastive)
    if not 0 < pairs.holdout_fraction < 1:
        raise ConfigError(f"--holdout-fraction {pairs.holdout_fraction} must lie between 0 and 1")
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


def _check_workers(workers: int) -> None:
    """Refuse what would fill the memory long before it decodes anything: each worker takes some 300 MB."""
    _at_least(0, workers=workers)
    most = 4 * (os.cpu_count() or 1)
    if workers > most:
        raise ConfigError(
            f"--workers {workers} is too many for this machine; use at most {most}, one for each core is best"
        )


def _at_least(smallest: int, **values: int | float | None) -> None:
    for name, value in values.items():
        if value is not None and not value >= smallest:  # so that not-a-number is refused, too
            raise ConfigError(f"--{name.replace('_', '-')} {value} must be at least {smallest}")


def _share(**values: int | float | None) -> None:
    for name, value in values.items():
        if value is not None and not 0 <= value <= 1:
            raise ConfigError(f"--{name.replace('_', '-')} {value} must lie between 0 and 1")
