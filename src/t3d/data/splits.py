"""Honest parts: validation carved by whole groups, no group on both sides of a split, and few labels on purpose."""

import hashlib
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from t3d.data.samples import NoSuchSubsetError, Sample, Subset, VideoList
from t3d.errors import ConfigError, DataError

if TYPE_CHECKING:
    import torch  # imported where videos are drawn: reading lists must not wait for it


def carve_validation(train: VideoList, *, fraction: float, generator: "torch.Generator") -> tuple[VideoList, VideoList]:
    """Divide training videos into training and validation, in whole groups.

    Groups are looked at in random order; each goes to validation if that brings the classes there nearer to their
    share, which is at least one video, and leaves every class training videos. If none does, the least bad one goes.

    Args:
        train: The list to divide.
        fraction: Share of every class to hold out, 0..1, both excluded.
        generator: Decides which groups.

    Returns:
        Training and validation, in the order of the list.

    Raises:
        DataError: No group can be taken away without leaving a class without training videos.
    """
    chosen = _choose_groups(train, fraction, generator)
    if not chosen:
        raise DataError(
            f"{train.root}: no validation videos can be carved from {train.split}, for every group holds all videos of "
            "a class; add videos of other groups or train without validation (--select-on none)"
        )
    held = tuple(sample for sample in train.samples if sample.group in chosen)
    kept = tuple(sample for sample in train.samples if sample.group not in chosen)
    absent = len({sample.label for sample in kept} - {sample.label for sample in held})
    warning = f"{absent} of {len(train.labels)} classes have no validation video: too few groups to spare one"
    share = f"{len(chosen)} of {len({sample.group for sample in train.samples})} groups"
    return (
        replace(train, samples=kept, split=f"{train.split}, less {share} held out for validation"),
        replace(
            train,
            samples=held,
            split=f"validation: {share} of {train.split}",
            missing=(),
            warnings=(warning,) if absent else (),
        ),
    )


def take_labels(
    train: VideoList, *, per_class: int | None, fraction: float | None, generator: "torch.Generator"
) -> VideoList:
    """Keep some training videos of every class: what is learnt from few labels, or from half of a large set.

    The videos of a class are drawn without regard to groups. Equal generators draw nested subsets: the five videos a
    class of one experiment are among the twenty of another.

    Args:
        train: The list to draw from.
        per_class: Videos to keep of every class; a class that has fewer keeps what it has, with a warning.
        fraction: Share of every class to keep instead, above 0 and at most 1; at least one video.
        generator: Decides which videos.

    Returns:
        The videos drawn, in the order of the list.

    Raises:
        ConfigError: Both or neither of `per_class` and `fraction` are given, or one is out of range.
    """
    import torch

    text = _amount_text(per_class, fraction)
    places: dict[int, list[int]] = {label: [] for label in range(len(train.labels))}
    for index, sample in enumerate(train.samples):
        places[sample.label].append(index)
    chosen: set[int] = set()
    for found in places.values():
        wanted = per_class if fraction is None else max(1, round(fraction * len(found)))
        chosen.update(found[place] for place in torch.randperm(len(found), generator=generator).tolist()[:wanted])
    return replace(
        train,
        samples=tuple(sample for index, sample in enumerate(train.samples) if index in chosen),
        split=f"{train.split}, {text}",
        warnings=(*train.warnings, *_shortage(train.labels, [len(found) for found in places.values()], per_class)),
    )


def check_disjoint(train: VideoList, test: VideoList, *, allow_shared_groups: bool = False) -> None:
    """Refuse a test on groups that were trained on: its result would not hold for new people or sources.

    Raises:
        DataError: A group is on both sides, and that was not allowed.
    """
    shared = {sample.group for sample in train.samples} & {sample.group for sample in test.samples}
    if shared and not allow_shared_groups:
        videos = sum(sample.group in shared for sample in test.samples)
        raise DataError(
            f"{test.root}: {len(shared)} groups are in training and in test ({videos} of {len(test.samples)} test "
            f"videos), for example {min(shared)!r}; divide by group, or pass --allow-shared-groups"
        )


def _amount_text(per_class: int | None, fraction: float | None) -> str:
    if per_class is not None and fraction is None:
        if per_class < 1:
            raise ConfigError(f"{per_class} videos a class are none; use at least 1")
        return f"{per_class} videos a class"
    if fraction is not None and per_class is None:
        if not 0 < fraction <= 1:
            raise ConfigError(f"a share of {fraction} of every class must be above 0 and at most 1")
        return f"{fraction:g} of every class"
    raise ConfigError("give the number of videos a class or their share, one of the two")


def _shortage(labels: Sequence[str], counts: Sequence[int], per_class: int | None) -> list[str]:
    short = [index for index, count in enumerate(counts) if count < (per_class or 0)]
    if not short:
        return []
    example = f"{labels[short[0]]!r} has {counts[short[0]]}"
    return [f"{len(short)} of {len(labels)} classes have fewer than {per_class} training videos: {example}"]


def _choose_groups(train: VideoList, fraction: float, generator: "torch.Generator") -> set[str]:
    import torch

    groups: dict[str, Counter[int]] = defaultdict(Counter)
    for sample in train.samples:
        groups[sample.group][sample.label] += 1
    kept = Counter(sample.label for sample in train.samples)
    targets = {label: max(1, round(fraction * number)) for label, number in kept.items()}
    held: Counter[int] = Counter()
    names = sorted(groups)
    order = [names[index] for index in torch.randperm(len(names), generator=generator).tolist()]

    def cost(group: str) -> int:
        """How much further from the targets the held videos are with this group than without it."""
        return sum(
            (held[label] + n - targets[label]) ** 2 - (held[label] - targets[label]) ** 2
            for label, n in groups[group].items()
        )

    def can_go(group: str) -> bool:
        return all(kept[label] > number for label, number in groups[group].items())

    chosen = set()
    for group in order:
        if can_go(group) and cost(group) <= 0:
            chosen.add(group)
            held += groups[group]
            kept -= groups[group]
    possible = [group for group in order if can_go(group)]
    return chosen or set(sorted(possible, key=cost)[:1])


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
