"""Commands that score and compare: evaluate, predict, fuse, compare."""

import math
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Literal

from tyro.conf import Positional, arg

from t3d.bounds import at_least, check_bounds
from t3d.config.fields import Accelerator, Backend, EngineName, Format, Precision, Workers
from t3d.errors import ConfigError
from t3d.video.spec import ViewSpec


@dataclass(frozen=True, kw_only=True)
class ScoringOptions:
    """Views, device and engine for scoring videos."""

    views: ViewSpec = field(default_factory=ViewSpec)
    workers: Workers = 2
    """Processes that decode videos."""
    accelerator: Accelerator = "auto"
    """Where to compute."""
    precision: Precision = "32-true"
    """Number format of the arithmetic; an exported file has its own."""
    engine: EngineName = "auto"
    """Inference engine; `auto` is PyTorch, or the engine of an exported file. Others translate weights in memory."""
    backend: Backend = "pyav"
    """Library that decodes videos."""

    def __post_init__(self) -> None:
        check_bounds(self)
        if self.engine not in ("auto", "torch") and self.accelerator == "cuda":
            raise ConfigError(f"--engine {self.engine} computes on the CPU; leave out --accelerator cuda")


@dataclass(frozen=True, kw_only=True)
class EvaluateConfig:
    """Score a trained run on labelled videos, clip by clip and video by video."""

    weights: Annotated[Positional[Path], arg(metavar="RUN")]
    """Run folder, weights file, or what `t3d export` wrote."""
    data: Annotated[Positional[Path | None], arg(metavar="DATA")] = None
    """Labelled videos; default: the dataset of the training (its test list)."""
    output: Path | None = None
    """Folder for metrics, predictions and report. Default: the run folder, or `validation` or `train` in it; for
    another engine or precision a subfolder such as `openvino-bf16`; for a file NAME.safetensors the folder
    NAME beside it."""
    split: int | None = None
    """Number of the split; default: the run's."""
    subset: Literal["test", "validation", "train"] = "test"
    """List of the split; validation without a list: the videos that --select-on validation held out."""
    format: Format | None = None
    """Dataset format of DATA, if it is not recognised."""
    predictions: Literal["csv", "parquet"] = "csv"
    """File format of the predictions."""
    devices: Annotated[int, at_least(1)] = 1
    """Devices on this machine, one process each."""
    scoring: ScoringOptions = field(default_factory=ScoringOptions)

    def __post_init__(self) -> None:
        check_bounds(self)
        if self.devices > 1 and self.scoring.engine not in ("auto", "torch"):
            raise ConfigError(f"--devices {self.devices}: --engine {self.scoring.engine} uses one; leave it out")


@dataclass(frozen=True, kw_only=True)
class FuseConfig:
    """Combine the scores of several evaluated runs on the same videos (late fusion), such as frames and flow."""

    runs: Annotated[Positional[tuple[Path, ...]], arg(metavar="RUN")] = ()
    """Two or more run folders evaluated by t3d evaluate."""
    output: Path = Path("runs/fused")
    """Folder for metrics, predictions and report."""
    weights: tuple[float, ...] = ()
    """Weight of each run; default: fitted on RUN/validation (t3d evaluate RUN --subset validation)."""

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
    """Classify videos."""

    weights: Annotated[Positional[Path], arg(metavar="RUN")]
    """Run folder, weights file, or what `t3d export` wrote."""
    files: Annotated[Positional[tuple[Path, ...]], arg(metavar="FILE")] = ()
    """Videos, or folders of videos."""
    top: Annotated[int, at_least(1)] = 5
    """Classes listed for each video."""
    json: bool = False
    """Print JSON."""
    csv: bool = False
    """Print CSV."""
    timeline: Path | None = None
    """Folder for a plot, a CSV and an annotated copy of each video, clip by clip."""
    scoring: ScoringOptions = field(default_factory=ScoringOptions)

    def __post_init__(self) -> None:
        check_bounds(self)
        if not self.files:
            raise ConfigError("give videos or folders of videos to predict, such as: t3d predict RUN clip.mp4")
        if self.json and self.csv:
            raise ConfigError("--json and --csv exclude each other; give one")


@dataclass(frozen=True, kw_only=True)
class CompareConfig:
    """Tabulate evaluated runs, and test whether runs on the same videos differ."""

    runs: Annotated[Positional[tuple[Path, ...]], arg(metavar="RUN")]
    """Run folders with a metrics.json, and with predictions for comparisons video by video."""
    baseline: Path | None = None
    """Run that the others are compared with; default: all pairs, or the first run if there are more than four."""
    output: Path | None = None
    """Markdown file for the tables."""
    json: Path | None = None
    """JSON file for the same values."""
    flips: Path | None = None
    """CSV file of the videos that some runs classify correctly and others do not."""

    def __post_init__(self) -> None:
        if not self.runs:
            raise ConfigError("give run folders to compare, such as runs/split1 runs/split2 runs/split3")
        _check_named_once(self.runs)
        if self.baseline is not None and self.baseline not in self.runs:
            raise ConfigError(f"--baseline {self.baseline} is none of the runs; name it among them, too")


def _check_named_once(runs: tuple[Path, ...]) -> None:
    if len({path.resolve() for path in runs}) < len(runs):
        raise ConfigError("a run is named twice; name each once")
