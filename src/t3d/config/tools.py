"""Commands about files, networks and the machine: convert, export, data, data prepare, models, bench."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from tyro.conf import Positional, arg

from t3d.bounds import at_least, between, check_bounds, even, per_core
from t3d.config.fields import Accelerator, Backend, BenchKind, ExportPrecision, ExportTarget, Format, Layout
from t3d.errors import ConfigError
from t3d.inference.backends import backend_for_target


@dataclass(frozen=True, kw_only=True)
class ConvertConfig:
    """Convert published weights to a t3d weights file; docs/checkpoints.md lists the supported ones."""

    file: Annotated[Positional[Path], arg(metavar="FILE")]
    """A .pth, .pt or .safetensors file of tensors; code in it is not run."""
    layout: Annotated[Layout, arg(name="from")] = "auto"
    """Layout of the file; `auto` recognises it by the names of the tensors."""
    output: Path | None = None
    """File to write; default: FILE with the suffix .safetensors."""
    arch: str | None = None
    """Name of the architecture, if it is not one of the layout's."""
    labels: Path | None = None
    """Names of the classes in the order of the outputs: lines of text, a CSV of numbers and names, or JSON."""
    bgr: bool = False
    """The network was trained on BGR; not needed for layouts known to be BGR."""

    def __post_init__(self) -> None:
        if self.output is not None and self.output.suffix != ".safetensors":
            raise ConfigError(f"--output {self.output} must end in .safetensors")


@dataclass(frozen=True, kw_only=True)
class ExportConfig:
    """Export a trained network to a faster engine, compared with PyTorch on the same clips."""

    weights: Annotated[Positional[Path], arg(metavar="RUN")]
    """Run folder or weights file."""
    target: Annotated[ExportTarget, arg(name="to")] = "openvino"
    """Target: openvino (.xml and .bin), onnx (.onnx for ONNX Runtime), torch (.pt2, a PyTorch program)."""
    precision: ExportPrecision = "float32"
    """Number format of the arithmetic; bf16 and int8 are for OpenVINO."""
    output: Path | None = None
    """File to write; default: beside the weights, such as weights-openvino-int8.xml."""
    calibration: Path | None = None
    """Labelled videos whose training list provides the clips for int8 calibration and for the comparison. Default: the
    training dataset for int8, noise for other precisions."""
    calibration_clips: Annotated[int | None, at_least(1)] = None
    """Clips for int8 calibration; default 128."""
    tolerance: Annotated[float | None, at_least(0)] = None
    """Largest allowed difference of a logit from PyTorch in float32, relative to the largest logit. Default: 0.0001 for
    float32, 0.05 for bf16, and for int8 0.1 with the same top class for nine of ten clips."""
    backend: Backend = "pyav"
    """Library that decodes videos."""
    overwrite: bool = False
    """Replace an existing file."""

    def __post_init__(self) -> None:
        check_bounds(self)
        able = backend_for_target(self.target).precisions
        if self.precision not in able:
            raise ConfigError(f"--precision {self.precision}: --to {self.target} computes in {' or '.join(able)}")
        if self.calibration_clips is not None and self.precision != "int8":
            raise ConfigError(f"--calibration-clips {self.calibration_clips} is for --precision int8; leave it out")


@dataclass(frozen=True, kw_only=True)
class DataConfig:
    """Show what a dataset holds: classes, videos, groups, missing files."""

    data: Annotated[Positional[Path], arg(metavar="DATA")]
    """Folder or CSV/Parquet file of labelled videos, or `temporal-shapes`."""
    split: int = 1
    """Number of the split."""
    format: Format | None = None
    """Dataset format of DATA, if it is not recognised."""
    decode: bool = False
    """Also decode every video of the split once, and list those that fail."""


@dataclass(frozen=True, kw_only=True)
class PrepareConfig:
    """Re-encode every video of a dataset once for faster reading; docs/prepared-files.md explains when it helps."""

    data: Annotated[Positional[Path], arg(metavar="DATA")]
    """Folder or CSV/Parquet file of videos, or `temporal-shapes`."""
    output: Annotated[Positional[Path], arg(metavar="OUT")]
    """Folder for the copy, to be used in place of DATA; finished files in it are kept."""
    short_side: Annotated[int, at_least(16), even()] = 256
    """Short side in pixels; training with the same --resize need not resize."""
    keyframes: Annotated[int, at_least(1)] = 8
    """Frames from one keyframe to the next; fewer make seeking faster and files larger."""
    crf: Annotated[int, between(0, 51)] = 23
    """Constant rate factor of x264: 18 is visually lossless, 51 the worst quality."""
    trim: bool = False
    """Store only the clips between `start` and `end` of a CSV or Parquet file, each as its own file."""
    format: Format | None = None
    """Dataset format of DATA, if it is not recognised."""
    workers: Annotated[int | None, at_least(0), per_core(4)] = None
    """Number of processes; default: one per core."""
    overwrite: bool = False
    """Start again if OUT was prepared from another source or with other flags."""

    def __post_init__(self) -> None:
        check_bounds(self)


@dataclass(frozen=True, kw_only=True)
class ModelsConfig:
    """List the networks with their parameters, native input and cost, counted or measured."""

    arch: tuple[str, ...] = ()
    """Names of the networks to list; default: all."""
    measure: bool = False
    """Also measure time and peak memory of a clip, at the native and at a common input size (takes minutes)."""
    input: Annotated[tuple[int, int, int] | None, at_least(1)] = None
    """Frames, height and width of the common input; default with --measure: 16 112 112."""
    output: Path | None = None
    """Markdown file for the table."""
    json: bool = False
    """Print JSON."""

    def __post_init__(self) -> None:
        check_bounds(self)


@dataclass(frozen=True, kw_only=True)
class BenchConfig:
    """Compare engines and precisions for scoring, or settings of training, on this machine."""

    kind: Annotated[Positional[BenchKind], arg(metavar="KIND")]
    """infer: score clips with every installed engine and precision; train: a training step with each setting."""
    run: Annotated[Positional[Path | None], arg(metavar="RUN")] = None
    """Run folder whose network and clip size are measured, instead of --arch (infer)."""
    arch: tuple[str, ...] = ()
    """Networks with random weights; default t3d_121."""
    batch_size: Annotated[int | None, at_least(1)] = None
    """Clips per step; default 4 (train), or 1 and then 4 (infer)."""
    num_frames: Annotated[int | None, at_least(1)] = None
    """Frames of a clip; default 16, or those of RUN."""
    crop_size: Annotated[int | None, at_least(1)] = None
    """Height and width of a clip; default 112, or those of RUN."""
    compile: bool = False
    """Also measure compiled steps, which take minutes to build (train)."""
    accelerator: Accelerator = "auto"
    """Device of the networks."""
    rounds: Annotated[int | None, at_least(1)] = None
    """Timed steps of each variant; the variants take turns. Default 5."""
    threads: Annotated[int | None, at_least(1)] = None
    """CPU threads of every variant; default: one per core."""
    output: Path | None = None
    """Folder for the results as Markdown and JSON."""
    json: bool = False
    """Print JSON."""

    def __post_init__(self) -> None:
        check_bounds(self)
        if self.compile and self.kind != "train":
            raise ConfigError(f"--compile is for t3d bench train, not for {self.kind}; leave it out")
        if self.run is not None and self.kind != "infer":
            raise ConfigError(f"{self.run}: only t3d bench infer takes a run; name a network by --arch")
        if self.run is not None and (self.arch or self.num_frames or self.crop_size):
            raise ConfigError(f"{self.run}: has its own network and clips; leave out --arch, --num-frames, --crop-size")
