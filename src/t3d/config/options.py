"""Groups of flags shared by the training commands."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

from t3d.bounds import above, at_least, between, inside
from t3d.config.fields import Accelerator, Backend, Format, Precision, Seed, Workers
from t3d.errors import ConfigError


@dataclass(frozen=True, kw_only=True)
class ModelOptions:
    """The network."""

    arch: str = "t3d_121"
    """Name of the architecture; `t3d models` lists them."""
    head: Literal["published", "mean"] = "published"
    """`mean` averages the last map and takes clips of any size; the published heads of C3D and I3D do not."""
    dropout: Annotated[float | None, at_least(0, below=1)] = None
    """Dropout probability, instead of the network's own: of new channels in DenseNets, else of features."""
    ttl_compress: bool = False
    """Add the 1x1x1 convolution after the concatenation that the authors' deleted code had (T3D only)."""
    keep_last_plane: bool = False
    """Stop halving time once one frame is left, so that very short clips work."""
    twin: bool = False
    """Build the 2D twin: every kernel, stride and pool is 1 in time."""
    overrides: tuple[str, ...] = ()
    """Other options of the network as NAME=JSON, such as ttl_width=64 or ttl_depths=[[1,3,3],[1,3,3],[1,3,3]]."""

    def __post_init__(self) -> None:
        for text in self.overrides:
            try:
                json.loads(text.partition("=")[2])
            except ValueError:
                raise ConfigError(
                    f"--overrides {text!r} must be NAME=JSON, such as ttl_width=64 or blocks=[2,2,2,2]"
                ) from None


@dataclass(frozen=True, kw_only=True)
class StartOptions:
    """Initial weights."""

    init: Path | None = None
    """Run folder or weights file to start from; the head is new if the classes differ."""
    inflate: Literal["centre", "repeat"] | None = None
    """The weights of --init are 2D: put each kernel at the temporal centre, or repeat it in time."""
    keep_fc: bool = False
    """Keep the 1024-wide layer of a transfer, before the new head."""
    freeze: Annotated[int, at_least(0)] = 0
    """Keep the first stages at their initial weights: 1 = stem, 2 = and block 1, ... 6 = all but the classifier."""
    layer_decay: Annotated[float, between(0, 1)] = 1.0
    """Each stage below the head learns at this fraction of the rate of the one above it."""


@dataclass(frozen=True, kw_only=True)
class LabelOptions:
    """Labels to train on, and their weights."""

    labels_per_class: Annotated[int | None, at_least(1)] = None
    """Train on this number of videos per class only, drawn by the seed."""
    train_fraction: Annotated[float | None, above(0, 1)] = None
    """Train on this fraction of each class only, drawn by the seed."""
    label_smoothing: Annotated[float, between(0, 1)] = 0.0
    """Fraction of the target that is spread evenly over all classes."""
    balance: Literal["none", "loss", "sampler"] = "none"
    """Balance the classes: weight the loss of rare ones, or sample their videos more often."""


@dataclass(frozen=True, kw_only=True)
class OptimizerOptions:
    """Stochastic gradient descent."""

    batch_size: Annotated[int, at_least(1)] = 64
    """Clips in one update on one device, before accumulation."""
    accumulate: Annotated[int, at_least(1)] = 1
    """Batches accumulated for one update: the same update in a fraction of the memory."""
    lr: Annotated[float, at_least(0)] = 0.1
    """Learning rate of the head after warm-up."""
    momentum: Annotated[float, between(0, 1)] = 0.9
    """Momentum of SGD."""
    nesterov: bool = True
    """Nesterov momentum."""
    weight_decay: Annotated[float, at_least(0)] = 1e-4
    """L2 penalty on every parameter, as in the paper."""
    clip_norm: Annotated[float | None, above(0)] = None
    """Clip the norm of the gradient to this value."""
    ema_decay: Annotated[float | None, between(0, 1)] = None
    """Evaluate an exponential moving average of the weights with this decay, such as 0.99."""


@dataclass(frozen=True, kw_only=True)
class ScheduleOptions:
    """Length of the training and learning rate schedule."""

    epochs: Annotated[int, at_least(1)] = 200
    """Passes over the training videos."""
    min_steps: Annotated[int, at_least(0)] = 0
    """Minimum number of updates: small datasets get more than `epochs` passes."""
    max_steps: Annotated[int | None, at_least(1)] = None
    """Stop after this number of updates, regardless of `epochs`."""
    schedule: Literal["plateau", "step", "cosine"] = "plateau"
    """Divide the rate when validation loss stops falling, or at fixed epochs, or follow a cosine to zero."""
    warmup_steps: Annotated[int, at_least(0)] = 0
    """Updates over which the rate rises linearly from zero."""
    step_epochs: Annotated[int, at_least(1)] = 30
    """Epochs between two divisions by the `step` schedule."""
    decay_factor: Annotated[float, between(0, 1)] = 0.1
    """Factor of the rate at each division by `step` and `plateau`."""
    plateau_patience: Annotated[int, at_least(0)] = 10
    """Epochs without a lower validation loss before `plateau` divides."""
    early_stop_epochs: Annotated[int | None, at_least(1)] = None
    """Stop after this number of epochs without a lower validation loss."""


@dataclass(frozen=True, kw_only=True)
class SelectionOptions:
    """Choice of the epoch whose weights are kept."""

    select_on: Literal["none", "validation", "test"] = "validation"
    """Keep the epoch that is best on these videos; none: the last. `test` is biased, and results carry a warning."""
    validation_fraction: Annotated[float, inside(0, 1)] = 0.1
    """Fraction of the training videos, in whole groups, to hold out if the dataset has no validation list."""
    allow_shared_groups: bool = False
    """Continue although training and test videos share groups (people, sources); results carry a warning."""


@dataclass(frozen=True, kw_only=True)
class RunOptions:
    """Devices, precision, memory and checkpoints."""

    seed: Seed = 0
    """Seed of the initial weights, the order of videos, the clips and the crops."""
    workers: Workers = 2
    """Processes that decode videos."""
    devices: Annotated[int, at_least(1)] = 1
    """Devices on this machine, one process each."""
    nodes: Annotated[int, at_least(1)] = 1
    """Machines; start the same command on each with torchrun or SLURM."""
    accelerator: Accelerator = "auto"
    """Where to compute."""
    precision: Precision = "32-true"
    """Number format of the arithmetic; bf16-mixed needs a recent GPU or CPU and is checked before use."""
    channels_last: bool = False
    """Store the channels of a position together (channels_last_3d): often faster with bf16."""
    recompute: bool = False
    """Recompute dense blocks for their gradients instead of storing them: less memory, more time."""
    compile: bool = False
    """Compile the training step with torch.compile: minutes at the first start, then seconds; needs g++."""
    backend: Backend = "pyav"
    """Library that decodes videos."""
    checkpoint_steps: Annotated[int, at_least(1)] = 200
    """Updates between two checkpoints for `--resume`; the end of each epoch also saves one."""
    plain: bool = False
    """Train the plain network, without the fused steps of t3d.accelerate: slower, for checking."""
    bad_videos: Literal["stop", "skip"] = "stop"
    """Stop at a training video that cannot be decoded, or leave it out and list it in `skipped.csv`."""


@dataclass(frozen=True, kw_only=True)
class TeacherOptions:
    """The frozen 2D network and its input."""

    teacher: str = "densenet121"
    """densenet121, 161, 169, 201 (ImageNet), efficientnet_lite0, or FILE.py:FUNCTION for your own."""
    teacher_weights: Path | None = None
    """Local weights file of the teacher, instead of a download."""
    teacher_size: Annotated[int | None, at_least(1)] = None
    """Edge of its input in pixels, instead of its own."""
    pictures: Annotated[int, at_least(1)] = 32
    """Frames of each clip that it sees, evenly spaced; their features are averaged."""
    live: bool = False
    """Run the teacher on random crops of random clips in every epoch, as in the paper, instead of caching."""
    windows: Annotated[int, at_least(1)] = 10
    """Maximum number of clips of a video whose features are cached; with --live clips start anywhere."""


@dataclass(frozen=True, kw_only=True)
class PairOptions:
    """Positive and negative pairs, and their loss."""

    negatives: Literal["in-batch", "independent"] = "in-batch"
    """Pair each clip also with frames of another clip of the batch, or draw each pair separately (paper)."""
    hard_negatives: bool = False
    """Pair each clip also with frames of another time of its own video."""
    contrastive: Annotated[float, at_least(0)] = 0.0
    """Weight of an additional symmetric contrastive loss."""
    matcher_norm: bool = False
    """Batch normalisation of both 1024-wide features before the matcher."""
    holdout_fraction: Annotated[float, inside(0, 1)] = 0.1
    """Fraction of the videos held out to measure matching."""
    control: Literal["none", "shuffled-pairs", "colour-statistics"] = "none"
    """Control: frames of the wrong video, or only mean and deviation of each colour on both sides."""


@dataclass(frozen=True, kw_only=True)
class ProbeOptions:
    """Evaluation of the frozen network on labelled videos at the end; does not affect the result."""

    probe: Path | None = None
    """Labelled videos, with training and test list, for nearest neighbours and a linear classifier."""
    probe_split: int = 1
    """Number of the split of --probe."""
    probe_format: Format | None = None
    """Dataset format of --probe, if it is not recognised."""
