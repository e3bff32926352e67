"""Commands about files and networks: convert, data, models."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from tyro.conf import Positional, arg

from t3d.config.names import Format, Layout
from t3d.errors import ConfigError


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
