"""What a backend has to offer, and what travels inside an exported file."""

import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass, field
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from torch.export import ExportedProgram

from t3d.errors import CheckpointError, ConfigError
from t3d.inference.scorer import Scorer
from t3d.models.checkpoints import ModelCard, one_line


@dataclass(frozen=True, kw_only=True)
class Engine:
    """One library that computes exported networks; its own kind of graph is a model here.

    Models are whatever the library has: they are made by `convert` or `read`, and only handed on.
    """

    name: str
    suffixes: tuple[str, ...]
    """Of the files of an export; the first is the one that is named, and holds the description."""
    precisions: tuple[str, ...]
    packages: tuple[str, ...]
    """Those whose releases an export names."""
    extra: str = ""
    """Of t3d, which installs them."""
    convert: Callable[[ExportedProgram], Any]
    """Make a model of a captured network; may change the latter."""
    save: Callable[[Any, Path, str], None]
    """Write a model under a path, with a description inside."""
    read: Callable[[Path], tuple[Any, str | None]]
    """Read a model and its description; raises whatever the library raises on damaged files."""
    start: Callable[[Any, str], Scorer]
    """Make a model of a precision ready to score, on the CPU, with as many threads as PyTorch may use."""


def releases(packages: Iterable[str], extra: str) -> dict[str, str]:
    """The installed releases of packages, without importing them.

    Raises:
        ConfigError: One is not installed.
    """
    found = {}
    for package in packages:
        try:
            found[package] = version(package)
        except PackageNotFoundError as error:
            raise missing(package, extra) from error
    return found


def missing(package: str, extra: str) -> ConfigError:
    """The error of a library that is not installed."""
    return ConfigError(f"{package} is not installed; install 't3d[{extra}]'")


KEY = "t3d"
"""Name of the text among the metadata of a file, whatever its format."""

SCHEMA_VERSION = 1


@dataclass(frozen=True, kw_only=True)
class Export:
    """How a file was made, and how near it is to PyTorch."""

    engine: str
    """Library that computes it."""
    precision: str
    """float32, bf16 or int8."""
    weights: str
    """File of the weights."""
    weights_sha256: str
    """Its first 16 digits."""
    compared: str = ""
    """Clips on which it was set against PyTorch in float32."""
    difference: float = 0.0
    """Largest difference of a logit there, as a share of the largest logit."""
    agreement: float = 0.0
    """Share of these clips whose likeliest class is the same."""
    calibrated: str = ""
    """Clips that int8 was fitted to."""
    versions: Mapping[str, str] = field(default_factory=dict)
    command: str = ""


def to_text(card: ModelCard, export: Export) -> str:
    """Card and making as one JSON object on one line, in ASCII."""
    model = json.loads(card.to_json())
    return json.dumps({"schema_version": SCHEMA_VERSION, "model": model, "export": asdict(export)})


def from_text(text: str | None, *, file: Path) -> tuple[ModelCard, Export]:
    """Read what `to_text` wrote.

    Args:
        text: As it stood in the file; None where it had none.
        file: For the message.

    Raises:
        CheckpointError: There is none, it was written by a newer t3d, or it is damaged.
    """
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
