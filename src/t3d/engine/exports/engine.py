"""What an engine has to offer; each is a row of the table in `t3d.engine.exports.engines`."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from torch.export import ExportedProgram

from t3d.engine.scorer import Scorer
from t3d.errors import ConfigError


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
