"""One folder of videos per class, with or without train, validation and test folders above them."""

from pathlib import Path

from t3d.data.folders import folders_in, videos_in
from t3d.data.labels import number_labels, sorted_labels
from t3d.data.samples import Sample, Subset, VideoList, source_subset, subset_named, with_groups
from t3d.data.splits import group_kfold
from t3d.errors import DataError


def recognise(root: Path) -> bool:
    """Whether the folder has subfolders of videos, directly or in train, validation and test folders."""
    return bool(subset_folders(root)) or any(videos_in(root / name) for name in folders_in(root))


def read(root: Path, subset: Subset, *, split: int) -> VideoList:
    """Videos of one subset: of its folder, or of fold `split` if there are no such folders.

    Raises:
        NoSuchSubsetError: There is no folder for the subset.
        DataError: No folder has videos, or a test class has no training video.
    """
    parts = subset_folders(root)
    if parts:
        return _load_part(root, parts, subset, split=split)
    classes = _classes(root)
    if not classes:
        raise DataError(f"{root}: no folder in it holds videos; put the videos of each class into a folder of its name")
    samples, warnings = with_groups(_samples(root, root, classes, sorted_labels(classes)))
    return VideoList(
        samples=group_kfold(samples, subset, split=split, where=str(root)),
        labels=sorted_labels(classes),
        root=root,
        format="folder",
        split=f"fold {split} {subset} (made here, by group; not published)",
        warnings=warnings,
    )


def subset_folders(root: Path) -> dict[Subset, Path]:
    """The folders of training, validation and test videos, if there are any.

    Raises:
        DataError: Two folders have names of the same subset.
    """
    result: dict[Subset, Path] = {}
    for name in folders_in(root):
        subset = subset_named(name)
        if subset is None or not folders_in(root / name):
            continue
        if subset in result:
            raise DataError(f"{root}: {result[subset].name} and {name} both hold {subset} videos; keep one")
        result[subset] = root / name
    return result


def _load_part(root: Path, parts: dict[Subset, Path], subset: Subset, *, split: int) -> VideoList:
    source, warnings = source_subset(subset, parts, where=str(root))
    if split != 1:
        raise DataError(f"{root}: no split {split}; its folders make up split 1, the only one")
    classes = _classes(parts[source])
    labels = sorted_labels(_classes(parts.get("train", parts[source])))
    samples, more = with_groups(_samples(root, parts[source], classes, labels))
    return VideoList(
        samples=samples,
        labels=labels,
        root=root,
        format="folder",
        split=f"{subset} (folder {parts[source].name})",
        warnings=warnings + more,
    )


def _classes(folder: Path) -> dict[str, list[str]]:
    """From class to file names; folders without videos are ignored."""
    found = {name: videos_in(folder / name) for name in folders_in(folder)}
    return {name: videos for name, videos in found.items() if videos}


def _samples(root: Path, folder: Path, classes: dict[str, list[str]], labels: tuple[str, ...]) -> list[Sample]:
    paths = [(label, folder / label / name) for label, names in classes.items() for name in names]
    numbers = number_labels([label for label, _ in paths], labels, where=str(folder))
    return [
        Sample(name=path.relative_to(root).as_posix(), path=path, label=number, group="")
        for number, (_, path) in zip(numbers, paths, strict=True)
    ]
