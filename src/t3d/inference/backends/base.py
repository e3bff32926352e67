"""What a backend has to offer, and what travels inside a file that it exports.

Neither this nor the files of the backends import PyTorch or a backend's library before they compute: the command line
reads the table for its flags.
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
"""Clips (N, C, T, H, W), bytes on the CPU, to logits (N, K): float32, on any device."""

PRECISIONS = {"32-true": "float32", "bf16-mixed": "bf16", "16-mixed": "fp16"}
"""Number formats by the names that `--precision` has for them; results and exported files have the other ones."""


@dataclass(frozen=True, kw_only=True)
class Backend:
    """One library that computes networks from files of its own.

    What `translate` and `read` give is whatever the library has for a network, and is only handed on.
    """

    name: str
    """For `--engine`, and in results."""
    target: str
    """For `t3d export --to`, and in names of files."""
    summary: str
    """What it is good for, in a line of a table."""
    suffixes: tuple[str, ...]
    """Of the files of an export; the first is the one that users name, and holds the description."""
    precisions: tuple[str, ...]
    """Number formats it computes in; `int8` takes clips to fit it to."""
    packages: Mapping[str, tuple[str, ...]]
    """What has to be installed, by precision; the releases are written into exports."""
    extra: str = ""
    """Of t3d, which installs these."""
    translate: "Callable[[nn.Module, ModelCard, Views | None], Any]"
    """Make the library's network of ours, for clips of the card; with clips to fit it to, in int8."""
    save: Callable[[Any, Path, str], None]
    """Write a network under a path, with a text inside."""
    read: Callable[[Path], tuple[Any, str | None]]
    """Read a network and the text; raises whatever the library raises on damaged files."""
    start: Callable[[Any, str], Scorer]
    """Make a network of a precision ready to score, on the CPU, with as many threads as PyTorch may use."""

    def releases(self, precision: str) -> dict[str, str]:
        """The installed releases of what a precision takes, without importing them.

        Raises:
            ConfigError: A package is not installed.
        """
        return releases(self.packages[precision], self.extra)


def releases(packages: Iterable[str], extra: str) -> dict[str, str]:
    """The installed releases of packages, without importing them.

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
    """The error of a package that is not installed."""
    return ConfigError(f"{package} is not installed; install 't3d[{extra}]'")


KEY = "t3d"
"""Name of the text among the metadata of a file, whatever its format."""

SCHEMA_VERSION = 1


@dataclass(frozen=True, kw_only=True)
class Export:
    """How a file was made, and how near it is to PyTorch."""

    engine: str
    """Name of the backend that computes it."""
    precision: str
    """float32, bf16 or int8."""
    weights: str
    """File of the weights."""
    weights_sha256: str
    """Its first 16 digits."""
    compared: str = ""
    """Clips on which it was compared with PyTorch in float32."""
    difference: float = 0.0
    """Largest difference of a logit there, as a share of the largest logit."""
    agreement: float = 0.0
    """Share of these clips whose likeliest class is the same."""
    calibrated: str = ""
    """Clips that int8 was fitted to."""
    versions: Mapping[str, str] = field(default_factory=dict)
    command: str = ""


def to_text(card: "ModelCard", export: Export) -> str:
    """Card and making as one JSON object on one line, in ASCII."""
    model = json.loads(card.to_json())
    return json.dumps({"schema_version": SCHEMA_VERSION, "model": model, "export": asdict(export)})


def from_text(text: str | None, *, file: Path) -> "tuple[ModelCard, Export]":
    """Read what `to_text` wrote.

    Args:
        text: As it stood in the file; None where it had none.
        file: For the message.

    Raises:
        CheckpointError: There is none, it was written by a newer t3d, or it is damaged.
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
