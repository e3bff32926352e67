"""Samples, lists of videos, names of subsets, and groups."""

import re
from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from t3d.errors import DataError

Subset = Literal["train", "validation", "test"]

UNLABELLED = -1
"""Label of videos whose class is unknown or not used."""


@dataclass(frozen=True, kw_only=True)
class Sample:
    """One video, or one clip of it."""

    name: str
    """Unique name: path in the list, or relative to the root, with forward slashes; clips add `#start-end`."""
    path: Path
    label: int
    """Position in `VideoList.labels`, or `UNLABELLED`."""
    group: str
    """Videos that share it (a person, a source video) must not be split between training and test."""
    start_seconds: float | None = None
    end_seconds: float | None = None
    tag: str = ""
    """Free text by which results are broken down."""


@dataclass(frozen=True, kw_only=True)
class VideoList:
    """The videos of one subset of one split."""

    samples: tuple[Sample, ...]
    labels: tuple[str, ...]
    """Class names, the same for all subsets of a split; empty without labels."""
    root: Path
    format: str
    split: str
    """Text for messages: subset and split."""
    missing: tuple[Path, ...] = ()
    """Listed videos that are missing."""
    warnings: tuple[str, ...] = ()
    """One line each, shown with every result."""


_NAMES: dict[Subset, tuple[str, ...]] = {
    "train": ("train", "training"),
    "validation": ("validation", "val", "valid", "validate"),
    "test": ("test", "testing"),
}


class NoSuchSubsetError(DataError):
    """The dataset has no such subset; validation videos can then be held out of training."""


def subset_named(name: str) -> Subset | None:
    """The subset of a folder, file or cell of this name; None if it is not one."""
    return next((subset for subset, names in _NAMES.items() if name.strip().lower() in names), None)


def source_subset(subset: Subset, available: Collection[Subset], *, where: str) -> tuple[Subset, tuple[str, ...]]:
    """The part to read for a subset, and a warning if it is another one.

    Many datasets are published with training and validation but no test videos. Their validation videos are then the
    test set, and not available for validation.

    Raises:
        NoSuchSubsetError: There is no such part and no substitute.
    """
    stands_in = "validation" in available and "test" not in available
    if subset == "test" and stands_in:
        return "validation", (f"{where} has no test videos: its validation videos serve as the test",)
    if subset == "validation" and stands_in:
        raise NoSuchSubsetError(f"{where}: its validation videos serve as the test, for it has no other; use test")
    if subset not in available:
        raise NoSuchSubsetError(f"{where}: no {subset} videos, only {' and '.join(sorted(available)) or 'none at all'}")
    return subset, ()


_UCF101 = re.compile(r"(.+_g\d+)_c\d+")
_HMDB51 = re.compile(r"(.+)_[hulf]_[a-z]+_np\d+_[a-z]+_[a-z]+_\d+")
_KINETICS = re.compile(r"([\w-]{11})_\d{6}_\d{6}")


def group_of_name(stem: str) -> str | None:
    """The group in a file name without its suffix, or None.

    UCF101 (`v_Class_gNN_cNN`): class and gNN. HMDB51: the part before the six trailing tags. Kinetics
    (`<youtube id>_<start>_<end>`): the YouTube id.
    """
    for pattern in (_UCF101, _HMDB51, _KINETICS):
        match = pattern.fullmatch(stem)
        if match:
            return match.group(1)
    return None


def with_groups(samples: Sequence[Sample]) -> tuple[tuple[Sample, ...], tuple[str, ...]]:
    """Fill in empty groups: from the name, else one per file, with a warning."""
    grouped = tuple(sample if sample.group else replace(sample, group=_group(sample)) for sample in samples)
    unknown = sum(not sample.group and group_of_name(sample.path.stem) is None for sample in samples)
    if not unknown:
        return grouped, ()
    warning = (
        f"{unknown} of {len(samples)} videos name no group, so each file is its own: videos of one person or source "
        "on both sides of a split cannot be detected (a CSV with a column `group` can tell)"
    )
    return grouped, (warning,)


def _group(sample: Sample) -> str:
    whole_file = sample.start_seconds is None and sample.end_seconds is None
    file = sample.name if whole_file else sample.name.rpartition("#")[0]  # clips of one file form a group
    return group_of_name(sample.path.stem) or file
