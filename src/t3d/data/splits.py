"""Splits: validation and folds by whole groups, checks for leaks, and subsets with few labels."""

import hashlib
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, TypeVar

from t3d.data.samples import NoSuchSubsetError, Sample, Subset, VideoList
from t3d.errors import ConfigError, DataError

if TYPE_CHECKING:
    import torch  # slow to import, and only needed for drawing

MAX_FOLDS = 5
_MIN_GROUPS = 2
"""Minimum number of groups on both sides of `hold_out`, because pairs need two."""

Item = TypeVar("Item")


def carve_validation(train: VideoList, *, fraction: float, generator: "torch.Generator") -> tuple[VideoList, VideoList]:
    """Divide training videos into training and validation, in whole groups.

    Groups are visited in random order; each is moved to validation if that brings its classes closer to their share
    (at least one video) and leaves training videos of every class. If none qualifies, the best one is moved.

    Args:
        train: The list to divide.
        fraction: Fraction of every class to hold out, between 0 and 1.
        generator: Source of randomness.

    Returns:
        Training and validation, in the order of the list.

    Raises:
        DataError: Every choice would leave a class without training videos.
    """
    chosen = _groups_by_class(train, fraction, generator)
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


def hold_out(videos: VideoList, *, fraction: float, generator: "torch.Generator") -> tuple[VideoList, VideoList]:
    """Divide videos without labels into training and validation, in whole groups.

    Groups are visited in random order; each is held out if that brings the number of videos closer to the share. Both
    sides get at least two groups, because pairs need two.

    Args:
        videos: The list to divide.
        fraction: Fraction of the videos to hold out, between 0 and 1.
        generator: Source of randomness.

    Returns:
        Training and held-out videos, in the order of the list.

    Raises:
        DataError: There are fewer than four groups.
    """
    sizes = Counter(sample.group for sample in videos.samples)
    if len(sizes) < 2 * _MIN_GROUPS:
        raise DataError(
            f"{videos.root}: too few videos to hold some out: {len(sizes)} different files or groups, and at least "
            f"{2 * _MIN_GROUPS} are needed; add videos"
        )
    chosen = _groups_by_size(sizes, fraction * sizes.total(), generator)
    share = f"{len(chosen)} of {len(sizes)} groups"
    return (
        replace(
            videos,
            samples=tuple(sample for sample in videos.samples if sample.group not in chosen),
            split=f"{videos.split}, less {share} held out",
        ),
        replace(
            videos,
            samples=tuple(sample for sample in videos.samples if sample.group in chosen),
            split=f"held out: {share} of {videos.split}",
            missing=(),
            warnings=(),
        ),
    )


def take_labels(
    train: VideoList, *, per_class: int | None, fraction: float | None, generator: "torch.Generator"
) -> VideoList:
    """Keep some training videos of every class, for training with few labels or a part of a large dataset.

    Groups are ignored. Equal generators draw nested subsets: the five videos per class of one experiment are among the
    twenty of another.

    Args:
        train: The list to draw from.
        per_class: Videos to keep of every class; smaller classes keep all, with a warning.
        fraction: Fraction of every class to keep instead, above 0 and at most 1; at least one video.
        generator: Source of randomness.

    Returns:
        The videos drawn, in the order of the list.

    Raises:
        ConfigError: Both or neither of `per_class` and `fraction` are given, or one is out of range.
    """
    text = _amount_text(per_class, fraction)
    places: dict[int, list[int]] = {label: [] for label in range(len(train.labels))}
    for index, sample in enumerate(train.samples):
        places[sample.label].append(index)
    chosen: set[int] = set()
    for found in places.values():
        wanted = per_class if fraction is None else max(1, round(fraction * len(found)))
        chosen.update(_shuffled(found, generator)[:wanted])
    return replace(
        train,
        samples=tuple(sample for index, sample in enumerate(train.samples) if index in chosen),
        split=f"{train.split}, {text}",
        warnings=(*train.warnings, *_shortage(train.labels, [len(found) for found in places.values()], per_class)),
    )


def group_kfold(samples: Sequence[Sample], subset: Subset, *, split: int, where: str) -> tuple[Sample, ...]:
    """Training or test videos of fold `split`; the other folds are the training set.

    There are five folds, or as many as groups. The groups, largest first and equal ones in the order of their SHA-256,
    go to the fold with the fewest videos of their classes so far: folds are stratified as far as whole groups allow.
    Adding a video can move others.

    Raises:
        NoSuchSubsetError: For validation videos; hold them out of training.
        DataError: There is only one group, no such fold, or a class would have test but no training videos.
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


def draw_labels(train: VideoList, *, seed: int, per_class: int | None, fraction: float | None) -> VideoList:
    """`take_labels` by the seed of a training; the whole list if neither number nor fraction is given."""
    if per_class is None and fraction is None:
        return train
    from t3d.data.clips import RngStream, seeded

    return take_labels(train, per_class=per_class, fraction=fraction, generator=seeded(seed, RngStream.FEW_LABELS, 0))


def draw_validation(train: VideoList, *, seed: int, fraction: float) -> tuple[VideoList, VideoList]:
    """`carve_validation` by the seed of a training."""
    from t3d.data.clips import RngStream, seeded

    return carve_validation(train, fraction=fraction, generator=seeded(seed, RngStream.HELD_OUT_VIDEOS, 0))


def find_held_out(train: VideoList, trained: Mapping[str, Any], *, name: str) -> VideoList:
    """The validation videos that a run held out of its training list.

    Args:
        train: The whole training list.
        trained: Training entries of the model card.
        name: Name of the run, for error messages.

    Raises:
        DataError: It held none out, or did not record which.
    """
    if trained.get("select_on") != "validation" or "validation_fraction" not in trained:
        raise DataError(f"{name}: held out no validation videos of its own; train with --select-on validation")
    seed, per_class, fraction = (trained[name] for name in ("seed", "labels_per_class", "train_fraction"))
    labelled = draw_labels(train, seed=seed, per_class=per_class, fraction=fraction)
    return draw_validation(labelled, seed=seed, fraction=trained["validation_fraction"])[1]


def check_disjoint(train: VideoList, test: VideoList, *, allow_shared_groups: bool = False) -> None:
    """Refuse groups in both training and test set; the result would not hold for new people or sources.

    Raises:
        DataError: A group is in both, and that was not allowed.
    """
    shared = {sample.group for sample in train.samples} & {sample.group for sample in test.samples}
    if shared and not allow_shared_groups:
        videos = sum(sample.group in shared for sample in test.samples)
        raise DataError(
            f"{test.root}: {len(shared)} groups are in training and in test ({videos} of {len(test.samples)} test "
            f"videos), for example {min(shared)!r}; divide by group, or pass --allow-shared-groups"
        )


def _groups_by_class(train: VideoList, fraction: float, generator: "torch.Generator") -> set[str]:
    """Groups that approximate the share of every class; see `carve_validation`."""
    groups: dict[str, Counter[int]] = defaultdict(Counter)
    for sample in train.samples:
        groups[sample.group][sample.label] += 1
    kept = Counter(sample.label for sample in train.samples)
    targets = {label: max(1, round(fraction * number)) for label, number in kept.items()}
    held: Counter[int] = Counter()
    order = _shuffled(sorted(groups), generator)

    def cost(group: str) -> int:
        """Change of the distance to the targets if this group is added."""
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


def _groups_by_size(sizes: Counter[str], target: float, generator: "torch.Generator") -> set[str]:
    """Groups with about `target` videos in total, at least two on both sides."""
    order = _shuffled(sorted(sizes), generator)
    chosen: list[str] = []
    num_videos = 0
    for group in order:
        nearer = abs(num_videos + sizes[group] - target) < abs(num_videos - target)
        if nearer and len(chosen) < len(order) - _MIN_GROUPS:
            chosen.append(group)
            num_videos += sizes[group]
    smallest_first = sorted((group for group in order if group not in chosen), key=lambda group: sizes[group])
    return {*chosen, *smallest_first[: max(0, _MIN_GROUPS - len(chosen))]}


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


def _assign_folds(samples: Sequence[Sample]) -> dict[str, int]:
    """From group to fold, counted from 1."""
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


def _shuffled(items: Sequence[Item], generator: "torch.Generator") -> list[Item]:
    import torch

    return [items[index] for index in torch.randperm(len(items), generator=generator).tolist()]
