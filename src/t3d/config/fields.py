"""Values that flags choose from, and their checks."""

import os
from pathlib import Path
from typing import TYPE_CHECKING, Literal, TypeAlias

from t3d.errors import ConfigError
from t3d.inference.backends import BACKENDS

Format = Literal["ucf101", "hmdb51", "kinetics", "folder", "csv"]


Accelerator = Literal["auto", "cpu", "cuda"]


Precision = Literal["32-true", "bf16-mixed", "16-mixed"]


Backend = Literal["pyav", "torchcodec"]


if TYPE_CHECKING:
    EngineName: TypeAlias = str
    ExportTarget: TypeAlias = str
    ExportPrecision: TypeAlias = str
else:  # choices, as the table of backends has them
    EngineName = Literal[("auto", *BACKENDS)]
    ExportTarget = Literal[tuple(backend.target for backend in BACKENDS.values())]
    ExportPrecision = Literal[tuple(dict.fromkeys(name for row in BACKENDS.values() for name in row.precisions))]


Layout = Literal[
    "auto",
    "t3d_authors",
    "torchvision_densenet",
    "torchvision_resnet",
    "torchvision_r3d",
    "hara_resnet",
    "hara_densenet",
    "i3d",
    "c3d",
    "c3d_jfzhang",
    "c3d_mmaction2",
]


Pipeline = Literal["scratch", "transfer", "ft-transfer", "inflation"]


BenchKind = Literal["infer", "train"]


def check_named_once(runs: tuple[Path, ...]) -> None:
    """Refuse a run that is named twice."""
    if len({path.resolve() for path in runs}) < len(runs):
        raise ConfigError("a run is named twice; name each once")


def check_workers(workers: int) -> None:
    """Refuse what would fill the memory long before it decodes anything: each worker takes some 300 MB."""
    at_least(0, workers=workers)
    most = 4 * (os.cpu_count() or 1)
    if workers > most:
        raise ConfigError(
            f"--workers {workers} is too many for this machine; use at most {most}, one for each core is best"
        )


def at_least(smallest: int, **values: int | float | None) -> None:
    """Refuse numbers below the smallest; what is left out passes."""
    for name, value in values.items():
        if value is not None and not value >= smallest:  # so that not-a-number is refused, too
            raise ConfigError(f"--{name.replace('_', '-')} {value} must be at least {smallest}")


def share(**values: int | float | None) -> None:
    """Refuse what is no share of a whole; what is left out passes."""
    for name, value in values.items():
        if value is not None and not 0 <= value <= 1:
            raise ConfigError(f"--{name.replace('_', '-')} {value} must lie between 0 and 1")
