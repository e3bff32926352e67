"""What every reader of a dataset gives: the videos of one subset of one split. Reading lists is done elsewhere."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

Subset = Literal["train", "validation", "test"]

UNLABELLED = -1
"""The label of a video whose class is not known, or not to be used."""


@dataclass(frozen=True, kw_only=True)
class Sample:
    """One video, or one piece of one."""

    name: str
    """Path as the list gives it, else relative to the root, with forward slashes; a piece adds `#start-end`. Unique."""
    path: Path
    label: int
    """Position in `VideoList.labels`, or `UNLABELLED`."""
    group: str
    """Videos that share it (a person, a source video) must not be split between training and test."""
    start_seconds: float | None = None
    end_seconds: float | None = None
    tag: str = ""
    """Free text that results are also broken down by."""


@dataclass(frozen=True, kw_only=True)
class VideoList:
    """The videos of one subset of one split."""

    samples: tuple[Sample, ...]
    labels: tuple[str, ...]
    """Class names; all subsets of a split have the same. None where no video has a label."""
    root: Path
    format: str
    split: str
    """For people: which split, which subset, and whose."""
    missing: tuple[Path, ...] = ()
    """Videos the list names that are not there."""
    warnings: tuple[str, ...] = ()
    """One line each, to be shown with every result."""
