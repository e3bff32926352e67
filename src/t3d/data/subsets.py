"""What the parts of a split are called, and which part stands in for a test list that does not exist."""

from collections.abc import Collection

from t3d.data.samples import Subset
from t3d.errors import DataError

_NAMES: dict[Subset, tuple[str, ...]] = {
    "train": ("train", "training"),
    "validation": ("validation", "val", "valid", "validate"),
    "test": ("test", "testing"),
}


class NoSuchSubsetError(DataError):
    """The dataset has no such part at all; validation videos can then be carved from training."""


def subset_named(name: str) -> Subset | None:
    """The subset that a folder, file or cell of this name means; None if it means none."""
    return next((subset for subset, names in _NAMES.items() if name.strip().lower() in names), None)


def source_subset(subset: Subset, available: Collection[Subset], *, where: str) -> tuple[Subset, tuple[str, ...]]:
    """Which part to read for a subset, and a warning where that is not the one asked for.

    With training and validation but no test videos, as many datasets are published, the validation videos are the
    test, and are then not there for choosing anything.

    Raises:
        NoSuchSubsetError: No part can stand for the subset.
    """
    stands_in = "validation" in available and "test" not in available
    if subset == "test" and stands_in:
        return "validation", (f"{where} has no test videos: its validation videos serve as the test",)
    if subset == "validation" and stands_in:
        raise NoSuchSubsetError(f"{where}: its validation videos serve as the test, for it has no other; use test")
    if subset not in available:
        raise NoSuchSubsetError(f"{where}: no {subset} videos, only {' and '.join(sorted(available)) or 'none at all'}")
    return subset, ()
