"""HMDB51, and any dataset with lists in its format: `testTrainMulti_7030_splits/`, one file for each class and split.

Source: Kuehne, Jhuang, Garrote, Poggio, Serre 2011, "HMDB: a large video database for human motion recognition", ICCV,
and the three splits published with it.
"""

import re
from pathlib import Path

from t3d.data.folders import entries, find_videos
from t3d.data.lists import read_lines
from t3d.data.samples import NoSuchSubsetError, Sample, Subset, VideoList, with_groups
from t3d.errors import DataError

_LISTS = "testTrainMulti_7030_splits"
_LIST_NAME = re.compile(r"(.+)_test_split(\d+)\.txt")
_MARKS: dict[str, Subset | None] = {"0": None, "1": "train", "2": "test"}
_OFFICIAL_COUNTS = {"train": 3570, "test": 1530}


def recognise(root: Path) -> bool:
    """Whether the folder has lists in HMDB51's format, or such lists are beside it and it has one of their classes."""
    return _lists_folder(root) is not None


def list_files(root: Path) -> dict[str, Path]:
    """The lists, by their paths in the folder of the dataset."""
    folder = _lists_folder(root)
    return {} if folder is None else {f"{_LISTS}/{name}": folder / name for name in entries(folder)}


def read(root: Path, subset: Subset, *, split: int) -> VideoList:
    """Videos of one subset, searched in `root/class`, `root/hmdb51_org/class` and `root/videos/class`.

    Raises:
        DataError: There are no lists, or what `read_hmdb51_list` raises.
    """
    lists = _lists_folder(root)
    if lists is None:
        raise DataError(f"{root}: no folder {_LISTS} in it or beside it; unpack the published lists there")
    labels, wanted = read_hmdb51_list(lists, subset, split=split)
    parents = (root, root / "hmdb51_org", root / "videos")
    grouped, warnings = with_groups(wanted)
    samples, missing = find_videos(grouped, lambda sample: [parent / sample.path.parent for parent in parents])
    return VideoList(
        samples=samples,
        labels=labels,
        root=root,
        format="hmdb51",
        split=f"split {split} {subset} ({_LISTS})",
        missing=tuple(root / path for path in missing),
        warnings=warnings,
    )


def read_hmdb51_list(lists: Path, subset: Subset, *, split: int) -> tuple[tuple[str, ...], tuple[Sample, ...]]:
    """Read the lists of one split, without looking for videos.

    Returns:
        Sorted labels, and samples with paths relative to the folder of the classes.

    Raises:
        NoSuchSubsetError: For validation; the lists have train and test only.
        DataError: No such split, a missing list, a malformed line, or counts that differ from the published ones.
    """
    if subset == "validation":
        raise NoSuchSubsetError(f"{lists}: no validation list in this format; carve validation videos from training")
    found = [match.groups() for name in entries(lists) if (match := _LIST_NAME.fullmatch(name))]
    available = sorted({int(number) for _, number in found})
    if split not in available:
        raise DataError(f"{lists}: no split {split}; there are: {', '.join(map(str, available)) or 'none'}")
    labels = tuple(sorted({label for label, _ in found}))
    samples = tuple(
        sample
        for number, label in enumerate(labels)
        for sample in _read_class(lists / f"{label}_test_split{split}.txt", label, number, subset)
    )
    official = len(labels) == 51 and (labels[0], labels[-1]) == ("brush_hair", "wave")
    if official and len(samples) != _OFFICIAL_COUNTS[subset]:
        raise DataError(
            f"{lists}: {len(samples)} {subset} videos in split {split} where HMDB51 publishes "
            f"{_OFFICIAL_COUNTS[subset]}; restore the lists"
        )
    return labels, samples


def _lists_folder(root: Path) -> Path | None:
    inside, beside = root / _LISTS, root.absolute().parent / _LISTS
    if inside.is_dir():
        return inside
    if beside.is_dir() and root.is_dir() and root.absolute() != beside:
        classes = {match[1] for name in entries(beside) if (match := _LIST_NAME.fullmatch(name))}
        return beside if classes & set(entries(root)) else None
    return None


def _read_class(path: Path, label: str, number: int, subset: Subset) -> list[Sample]:
    seen: set[str] = set()
    samples = []
    for where, line in read_lines(path):
        file, _, mark = line.rpartition(" ")
        file = file.strip()
        if not file or mark not in _MARKS:
            raise DataError(f"{where}: expected `video.avi` and 0, 1 or 2, found {line!r}; restore the list")
        if file in seen:
            raise DataError(f"{where}: lists {file} more than once; restore the list")
        seen.add(file)
        if _MARKS[mark] == subset:
            name = f"{label}/{file}"
            samples.append(Sample(name=name, path=Path(name), label=number, group=""))
    return samples
