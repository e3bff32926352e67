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
class ExportConfig:
    """Write a trained network for a faster engine, checked against PyTorch on the same clips."""

    weights: Annotated[Positional[Path], arg(metavar="RUN")]
    """Run folder or weights file."""
    target: Annotated[ExportTarget, arg(name="to")] = "openvino"
    """openvino writes .xml and .bin, onnx .onnx for ONNX Runtime, torch a program of PyTorch, .pt2."""
    precision: ExportPrecision = "float32"
    """Number format of the arithmetic; bf16 and int8 are for OpenVINO."""
    output: Path | None = None
    """File to write; left out, beside the weights, such as weights-openvino-int8.xml."""
    calibration: Path | None = None
    """Labelled videos whose training list gives the clips of int8, and those compared; left out, those the run was
    trained on for int8, and noise for the others."""
    calibration_clips: Annotated[int | None, at_least(1)] = None
    """Clips that int8 is fitted to; left out, 128."""
    tolerance: Annotated[float | None, at_least(0)] = None
    """Largest difference of a logit from PyTorch in float32 that is let pass, as a share of the largest; left out,
    0.0001 for float32, 0.05 for bf16, and for int8 0.1 with the same likeliest class for nine clips of ten."""
    backend: Backend = "pyav"
    """Library that decodes videos."""
    overwrite: bool = False
    """Replace what is there under the name of the file."""

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
    """Layout of DATA, where it is not recognised by itself."""
    decode: bool = False
    """Also decode every video of the split once, and list those that fail."""


@dataclass(frozen=True, kw_only=True)
class PrepareConfig:
    """Re-encode every video of a dataset once, so that training reads it faster; docs/prepared-files.md says when."""

    data: Annotated[Positional[Path], arg(metavar="DATA")]
    """Folder or CSV/Parquet file of videos, or `temporal-shapes`."""
    output: Annotated[Positional[Path], arg(metavar="OUT")]
    """Folder for the copy, which is used as DATA was; what is in it already is not made again."""
    short_side: Annotated[int, at_least(16), even()] = 256
    """Pixels; what trainings are given as --resize, for then they need not resize."""
    keyframes: Annotated[int, at_least(1)] = 8
    """Frames from one keyframe to the next; fewer are faster to jump to and take more space."""
    crf: Annotated[int, between(0, 51)] = 23
    """Quality, as x264 counts it: 18 is visually lossless, 51 the worst."""
    trim: bool = False
    """Keep only what lies between `start` and `end` of a CSV or Parquet file, each part as a file of its own."""
    format: Format | None = None
    """Layout of DATA, where it is not recognised by itself."""
    workers: Annotated[int | None, at_least(0), per_core(4)] = None
    """Processes; left out, one for each core."""
    overwrite: bool = False
    """Begin anew where OUT was prepared from another source or with other flags."""

    def __post_init__(self) -> None:
        check_bounds(self)


@dataclass(frozen=True, kw_only=True)
class ModelsConfig:
    """List the networks with their parameters, native input and cost, counted or measured."""

    arch: tuple[str, ...] = ()
    """Names of the networks to list; left out, all."""
    measure: bool = False
    """Also measure milliseconds and peak memory of a clip, at the native input and at one common to all (minutes)."""
    input: Annotated[tuple[int, int, int] | None, at_least(1)] = None
    """Frames, height and width of the common input; with --measure 16 112 112 where left out."""
    output: Path | None = None
    """Markdown file for the table."""
    json: bool = False
    """Print JSON."""

    def __post_init__(self) -> None:
        check_bounds(self)


@dataclass(frozen=True, kw_only=True)
class BenchConfig:
    """Measure engines and precisions of scoring, or settings of training, in turn on this machine."""

    kind: Annotated[Positional[BenchKind], arg(metavar="KIND")]
    """infer: score clips by every installed engine and precision; train: a training step with each setting."""
    run: Annotated[Positional[Path | None], arg(metavar="RUN")] = None
    """Run folder whose network and clips are measured, instead of --arch (infer)."""
    arch: tuple[str, ...] = ()
    """Networks of random weights; left out, t3d_121."""
    batch_size: Annotated[int | None, at_least(1)] = None
    """Clips of a step; left out, 4 (train), or 1 and then 4 (infer)."""
    num_frames: Annotated[int | None, at_least(1)] = None
    """Frames of a clip; left out, 16, or those of RUN."""
    crop_size: Annotated[int | None, at_least(1)] = None
    """Height and width of a clip; left out, 112, or those of RUN."""
    compile: bool = False
    """Also measure compiled steps, which take minutes to build (train)."""
    accelerator: Accelerator = "auto"
    """Where the networks are."""
    rounds: Annotated[int | None, at_least(1)] = None
    """Timed steps of each variant; the variants take turns. Left out, 5."""
    threads: Annotated[int | None, at_least(1)] = None
    """CPU threads of every variant; left out, one for each core."""
    output: Path | None = None
    """Folder for the record as Markdown and JSON."""
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
