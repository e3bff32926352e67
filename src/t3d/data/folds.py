"""Divide videos without a published split into folds of whole groups. Nothing random: equal lists give equal folds."""

import hashlib
from collections import Counter, defaultdict
from collections.abc import Sequence

from t3d.data.samples import Sample, Subset
from t3d.data.subsets import NoSuchSubsetError
from t3d.errors import DataError

MAX_FOLDS = 5


def fold_samples(samples: Sequence[Sample], subset: Subset, *, split: int, where: str) -> tuple[Sample, ...]:
    """Training or test videos of fold `split`, which is tested while the other folds train.

    There are five folds, or as many as groups. The groups, largest first and equal ones in the order of their SHA-256,
    each go to the fold that so far has the least of their classes: folds stay alike in every class as far as whole
    groups allow. Adding a video can move others.

    Raises:
        NoSuchSubsetError: Validation videos are asked for; carve them from training.
        DataError: There is only one group, no such fold, or a class would be tested but not trained.
    """
    if subset == "validation":
        raise NoSuchSubsetError(f"{where}: no published split, so no validation videos; carve them from training")
    folds = _assign_folds(samples)
    num_folds = len(set(folds.values()))
    if num_folds < 2:
        raise DataError(f"{where}: all {len(samples)} videos are one group and cannot be divided; add other groups")
    if not 1 <= split <= num_folds:
        raise DataError(f"{where}: no split {split}; its folds are numbered 1 to {num_folds}")
    test = tuple(sample for sample in samples if folds[sample.group] == split)
    train = tuple(sample for sample in samples if folds[sample.group] != split)
    untrained = {sample.label for sample in test} - {sample.label for sample in train}
    if untrained:
        name = next(sample.name for sample in test if sample.label in untrained)
        raise DataError(f"{where}: fold {split} holds all videos of the class of {name}; add videos of other groups")
    return test if subset == "test" else train


def _assign_folds(samples: Sequence[Sample]) -> dict[str, int]:
    """Group to fold, counted from 1."""
    classes: dict[str, Counter[int]] = defaultdict(Counter)
    for sample in samples:
        classes[sample.group][sample.label] += 1
    totals = Counter(sample.label for sample in samples)
    folds: list[Counter[int]] = [Counter() for _ in range(min(MAX_FOLDS, len(classes)))]
    result = {}
    for group in sorted(classes, key=lambda group: (-classes[group].total(), _digest(group))):
        counts = classes[group]

        def crowding(fold: int, counts: Counter[int] = counts) -> tuple[float, int]:
            share = sum(number * folds[fold][label] / totals[label] for label, number in counts.items())
            return share, folds[fold].total()

        chosen = min(range(len(folds)), key=crowding)
        folds[chosen] += counts
        result[group] = chosen + 1
    return result


def _digest(group: str) -> str:
    return hashlib.sha256(group.encode()).hexdigest()
