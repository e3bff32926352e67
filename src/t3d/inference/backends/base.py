"""The interface of a backend, and the description inside exported files.

Backend modules import PyTorch and their library only inside functions, because the command line reads the table of
backends for its flags.
"""

import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass, field
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from t3d.errors import CheckpointError, ConfigError

if TYPE_CHECKING:
    from torch import nn

    from t3d.models.checkpoints import ModelCard
    from t3d.tensors import Logits, Views

Scorer = Callable[["Views"], "Logits"]
"""From clips (N, C, T, H, W), uint8 on the CPU, to logits (N, K), float32 on any device."""

PRECISIONS = {"32-true": "float32", "bf16-mixed": "bf16", "16-mixed": "fp16"}
"""From values of `--precision` to the names of precisions in results and exported files."""


@dataclass(frozen=True, kw_only=True)
class Backend:
    """An inference library with its own file format.

    The objects returned by `translate` and `read` are the library's and are only passed on.
    """

    name: str
    """Name in `--engine` and in results."""
    target: str
    """Name in `t3d export --to` and in file names."""
    summary: str
    """Its use, in a few words for a table."""
    suffixes: tuple[str, ...]
    """Suffixes of the files of an export; the first is the one users pass, and contains the description."""
    precisions: tuple[str, ...]
    """Supported precisions; `int8` needs calibration clips."""
    packages: Mapping[str, tuple[str, ...]]
    """Required packages by precision; their versions are written into exports."""
    extra: str = ""
    """The extra of t3d that installs them."""
    translate: "Callable[[nn.Module, ModelCard, Views | None], Any]"
    """Translates a network for clips of the card; in int8 if calibration clips are given."""
    save: Callable[[Any, Path, str], None]
    """Writes a network with a description to a path."""
    read: Callable[[Path], tuple[Any, str | None]]
    """Reads a network and its description; may raise any exception on damaged files."""
    start: Callable[[Any, str], Scorer]
    """Returns a scorer of a network in a precision, on the CPU, with PyTorch's number of threads."""

    def releases(self, precision: str) -> dict[str, str]:
        """Versions of the packages of a precision, without importing them.

        Raises:
            ConfigError: A package is not installed.
        """
        return releases(self.packages[precision], self.extra)


def releases(packages: Iterable[str], extra: str) -> dict[str, str]:
    """Versions of packages, without importing them.

    Raises:
        ConfigError: A package is not installed.
    """
    found = {}
    for package in packages:
        try:
            found[package] = version(package)
        except PackageNotFoundError as error:
            raise not_installed(package, extra) from error
    return found


def not_installed(package: str, extra: str) -> ConfigError:
    """The error for a package that is not installed."""
    return ConfigError(f"{package} is not installed; install 't3d[{extra}]'")


KEY = "t3d"
"""Name of the description in the metadata of all file formats."""

SCHEMA_VERSION = 1


@dataclass(frozen=True, kw_only=True)
class Export:
    """Description of an export, with its agreement with PyTorch."""

    engine: str
    """Name of the backend."""
    precision: str
    """float32, bf16 or int8."""
    weights: str
    """File of the weights."""
    weights_sha256: str
    """Its first 16 digits."""
    compared: str = ""
    """The clips on which it was compared with PyTorch in float32."""
    difference: float = 0.0
    """Largest difference of a logit, relative to the largest logit."""
    agreement: float = 0.0
    """Fraction of these clips with the same top class."""
    calibrated: str = ""
    """The clips for int8 calibration."""
    versions: Mapping[str, str] = field(default_factory=dict)
    command: str = ""


def to_text(card: "ModelCard", export: Export) -> str:
    """Card and export as one JSON object on one line, in ASCII."""
    model = json.loads(card.to_json())
    return json.dumps({"schema_version": SCHEMA_VERSION, "model": model, "export": asdict(export)})


def from_text(text: str | None, *, file: Path) -> "tuple[ModelCard, Export]":
    """Parse the text of `to_text`.

    Args:
        text: From the file; None if missing.
        file: For error messages.

    Raises:
        CheckpointError: It is missing, from a newer t3d, or damaged.
    """
    from t3d.models.checkpoints import ModelCard, one_line

    if text is None:
        raise CheckpointError(f"{file}: holds a network but no t3d description; give a file written by t3d export")
    try:
        values = json.loads(text)
        if values["schema_version"] > SCHEMA_VERSION:
            raise ValueError(f"schema version {values['schema_version']} is newer than this t3d ({SCHEMA_VERSION})")
        return ModelCard.from_json(json.dumps(values["model"])), Export(**values["export"])
    except (AttributeError, KeyError, TypeError, ValueError, ConfigError) as error:
        raise CheckpointError(
            f"{file}: its description cannot be read ({one_line(error)}); update t3d or export the weights again"
        ) from error
