"""Groups of flags that trainings are made of."""

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
    """The mean of the last map suits clips of every size; C3D and I3D are published with heads that do not."""
    dropout: Annotated[float | None, at_least(0, below=1)] = None
    """Share of values set to zero in training, not the network's own: new channels of a DenseNet, else features."""
    ttl_compress: bool = False
    """Add the 1x1x1 convolution after the concatenation that the authors' deleted code had (T3D only)."""
    keep_last_plane: bool = False
    """Stop halving time once one plane is left, so that very short clips work."""
    twin: bool = False
    """Build the 2D twin: every kernel, stride and pool is 1 in time."""
    overrides: tuple[str, ...] = ()
    """Other literals of the network as NAME=JSON, such as ttl_width=64 or ttl_depths=[[1,3,3],[1,3,3],[1,3,3]]."""

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
    """What the training starts from."""

    init: Path | None = None
    """Run folder or weights file to start from; the head is new where the classes differ."""
    inflate: Literal["centre", "repeat"] | None = None
    """The weights of --init are 2D: give each kernel to the plane in the centre, or to all planes alike."""
    keep_fc: bool = False
    """Keep the 1024-wide layer that a transfer put on the network, before the new head."""
    freeze: Annotated[int, at_least(0)] = 0
    """Keep the first stages at their initial weights: 1 = stem, 2 = and block 1, ... 6 = all but the classifier."""
    layer_decay: Annotated[float, between(0, 1)] = 1.0
    """Each stage below the head learns at this fraction of the rate of the one above it."""


@dataclass(frozen=True, kw_only=True)
class LabelOptions:
    """Which labels are learnt, and how they are weighed."""

    labels_per_class: Annotated[int | None, at_least(1)] = None
    """Train on so many videos of each class only, drawn by the seed."""
    train_fraction: Annotated[float | None, above(0, 1)] = None
    """Train on this share of each class only, drawn by the seed."""
    label_smoothing: Annotated[float, between(0, 1)] = 0.0
    """Share of the target given to all classes alike."""
    balance: Literal["none", "loss", "sampler"] = "none"
    """Make up for rare classes: weigh their loss, or draw their videos more often."""


@dataclass(frozen=True, kw_only=True)
class OptimizerOptions:
    """Stochastic gradient descent."""

    batch_size: Annotated[int, at_least(1)] = 64
    """Clips in one update on one device, before accumulation."""
    accumulate: Annotated[int, at_least(1)] = 1
    """Batches summed up before one update: the same update in a fraction of the memory."""
    lr: Annotated[float, at_least(0)] = 0.1
    """Learning rate of the head after warm-up."""
    momentum: Annotated[float, between(0, 1)] = 0.9
    """Momentum of SGD."""
    nesterov: bool = True
    """Nesterov's form of momentum."""
    weight_decay: Annotated[float, at_least(0)] = 1e-4
    """L2 penalty on every parameter, as the paper has it."""
    clip_norm: Annotated[float | None, above(0)] = None
    """Scale the gradient down to this norm where it is larger."""
    ema_decay: Annotated[float | None, between(0, 1)] = None
    """Evaluate an exponential moving average of the weights with this decay, such as 0.99."""


@dataclass(frozen=True, kw_only=True)
class ScheduleOptions:
    """How long, and how the learning rate moves."""

    epochs: Annotated[int, at_least(1)] = 200
    """Passes over the training videos."""
    min_steps: Annotated[int, at_least(0)] = 0
    """At least so many updates: a small folder is gone through more often than `epochs`."""
    max_steps: Annotated[int | None, at_least(1)] = None
    """Stop after so many updates, whatever `epochs` says."""
    schedule: Literal["plateau", "step", "cosine"] = "plateau"
    """Divide when validation loss stops falling, at fixed epochs, or follow half a cosine to zero."""
    warmup_steps: Annotated[int, at_least(0)] = 0
    """Updates over which the rate rises linearly from zero."""
    step_epochs: Annotated[int, at_least(1)] = 30
    """Epochs between two divisions of the `step` schedule."""
    decay_factor: Annotated[float, between(0, 1)] = 0.1
    """What `step` and `plateau` multiply the rate by."""
    plateau_patience: Annotated[int, at_least(0)] = 10
    """Epochs without a lower validation loss before `plateau` divides."""
    early_stop_epochs: Annotated[int | None, at_least(1)] = None
    """Stop after so many epochs without a lower validation loss."""


@dataclass(frozen=True, kw_only=True)
class SelectionOptions:
    """Which epoch's weights become the result."""

    select_on: Literal["none", "validation", "test"] = "validation"
    """Keep the best epoch on validation videos, or none: the last one. `test` is dishonest; every result says so."""
    validation_fraction: Annotated[float, inside(0, 1)] = 0.1
    """Share of the training videos, in whole groups, held out where the dataset has no validation list."""
    allow_shared_groups: bool = False
    """Go on although training and test videos share a group (a person, a source); every result says so."""


@dataclass(frozen=True, kw_only=True)
class RunOptions:
    """The machine."""

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
    """Number format of the arithmetic; bf16-mixed wants a recent GPU or CPU, and is checked before it is used."""
    channels_last: bool = False
    """Keep the channels of a place together in memory (channels_last_3d): often faster with bf16."""
    recompute: bool = False
    """Compute dense blocks again for their gradients instead of keeping what they computed: less memory, more time."""
    compile: bool = False
    """Compile the training step by torch.compile: minutes at the first start, seconds from then on; needs g++."""
    backend: Backend = "pyav"
    """Library that decodes videos."""
    checkpoint_steps: Annotated[int, at_least(1)] = 200
    """Updates between two savings of the state that `--resume` continues from; each epoch's end saves, too."""
    plain: bool = False
    """Train the plain network, without the fused steps of t3d.accelerate: slower, for checking."""
    bad_videos: Literal["stop", "skip"] = "stop"
    """A training video that cannot be decoded stops the run, or is left out and listed in `skipped.csv`."""


@dataclass(frozen=True, kw_only=True)
class TeacherOptions:
    """The frozen 2D network, and what it sees of a clip."""

    teacher: str = "densenet121"
    """densenet121, 161, 169, 201 (ImageNet), efficientnet_lite0, or FILE.py:FUNCTION for your own."""
    teacher_weights: Path | None = None
    """Local weights file of the teacher, instead of a download."""
    teacher_size: Annotated[int | None, at_least(1)] = None
    """Edge in pixels of the pictures it sees, instead of its own."""
    pictures: Annotated[int, at_least(1)] = 32
    """Frames of each clip it sees, evenly spaced; their features are averaged."""
    live: bool = False
    """Run the teacher on random crops of random clips in every epoch, as the paper did, instead of once for all."""
    windows: Annotated[int, at_least(1)] = 10
    """Places in a long video that are looked at, once for all; with --live clips begin anywhere."""


@dataclass(frozen=True, kw_only=True)
class PairOptions:
    """What is to be told apart."""

    negatives: Literal["in-batch", "independent"] = "in-batch"
    """Each clip also meets pictures of another clip of its batch; or each pair is drawn by itself, as in the paper."""
    hard_negatives: bool = False
    """Each clip also meets pictures of another time of its own video."""
    contrastive: Annotated[float, at_least(0)] = 0.0
    """Weight of a symmetric contrastive loss added to that of the pairs."""
    matcher_norm: bool = False
    """Batch normalisation of both 1024-wide features before they are matched."""
    holdout_fraction: Annotated[float, inside(0, 1)] = 0.1
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
