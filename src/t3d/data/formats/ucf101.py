"""UCF101, and any dataset with lists in its format: `ucfTrainTestlist/` beside or above the class folders.

Source: Soomro, Zamir, Shah 2012, arXiv:1212.0402, and the annotation files published with it.
"""

import re
from pathlib import Path

from t3d.data.folders import entries, find_videos
from t3d.data.lists import read_lines
from t3d.data.samples import NoSuchSubsetError, Sample, Subset, VideoList, with_groups
from t3d.errors import DataError

_LISTS = "ucfTrainTestlist"
_OFFICIAL_COUNTS = {
    1: {"train": 9537, "test": 3783},
    2: {"train": 9586, "test": 3734},
    3: {"train": 9624, "test": 3696},
}


def recognise(root: Path) -> bool:
    """Whether the folder has lists in UCF101's format, or such lists are beside it and it has one of their classes."""
    return _lists_folder(root) is not None


def list_files(root: Path) -> dict[str, Path]:
    """The lists, by their paths in the folder of the dataset."""
    folder = _lists_folder(root)
    return {} if folder is None else {f"{_LISTS}/{name}": folder / name for name in entries(folder)}


def read(root: Path, subset: Subset, *, split: int) -> VideoList:
    """Videos of one subset, searched in `root/Class` and `root/UCF-101/Class`.

    Raises:
        DataError: There are no lists, or what `read_ucf101_list` raises.
    """
    lists = _lists_folder(root)
    if lists is None:
        raise DataError(f"{root}: no folder {_LISTS} in it or beside it; unpack the published lists there")
    labels, wanted = read_ucf101_list(lists, subset, split=split)
    parents = (root, root / "UCF-101")
    grouped, warnings = with_groups(wanted)
    samples, missing = find_videos(grouped, lambda sample: [parent / sample.path.parent for parent in parents])
    return VideoList(
        samples=samples,
        labels=labels,
        root=root,
        format="ucf101",
        split=f"split {split} {subset} ({_LISTS})",
        missing=tuple(root / path for path in missing),
        warnings=warnings,
    )


def read_ucf101_list(lists: Path, subset: Subset, *, split: int) -> tuple[tuple[str, ...], tuple[Sample, ...]]:
    """Read class names and the list of one subset, without looking for videos.

    Returns:
        Labels in the order of `classInd.txt`, and samples with paths relative to the folder of the classes.

    Raises:
        NoSuchSubsetError: For validation; the lists have train and test only.
        DataError: No such split, a malformed line, an unknown class, or counts that differ from the published ones.
    """
    if subset == "validation":
        raise NoSuchSubsetError(f"{lists}: no validation list in this format; carve validation videos from training")
    available = sorted(int(match[1]) for name in entries(lists) if (match := re.fullmatch(r"testlist(\d+)\.txt", name)))
    if split not in available:
        raise DataError(f"{lists}: no split {split}; there are: {', '.join(map(str, available)) or 'none'}")
    labels = _read_labels(lists / "classInd.txt")
    path = lists / f"{subset}list{split:02d}.txt"
    numbers = {label: number for number, label in enumerate(labels)}
    samples = tuple(_parse(where, line, numbers) for where, line in read_lines(path))
    _check_list(path, samples, expected=_OFFICIAL_COUNTS.get(split, {}).get(subset) if _is_ucf101(labels) else None)
    return labels, samples


def _lists_folder(root: Path) -> Path | None:
    inside, beside = root / _LISTS, root.absolute().parent / _LISTS
    if inside.is_dir():
        return inside
    if (beside / "classInd.txt").is_file() and root.is_dir() and root.absolute() != beside:
        classes = {line.split()[-1] for _, line in read_lines(beside / "classInd.txt")}
        return beside if classes & set(entries(root)) else None
    return None


def _read_labels(path: Path) -> tuple[str, ...]:
    labels: list[str] = []
    for where, line in read_lines(path):
        number, _, name = line.partition(" ")
        if number != str(len(labels) + 1) or not name.strip() or name.strip() in labels:
            raise DataError(f"{where}: expected `{len(labels) + 1} NewClassName`, found {line!r}; restore the list")
        labels.append(name.strip())
    return tuple(labels)


def _parse(where: str, line: str, numbers: dict[str, int]) -> Sample:
    name, _, number = line.partition(" ")
    label, slash, file = name.partition("/")
    if not slash or not file:
        raise DataError(f"{where}: expected `Class/video.avi`, found {line!r}; restore the list")
    if label not in numbers:
        raise DataError(f"{where}: class {label!r} is not in classInd.txt; add it there or correct the name")
    if number and number.strip() != str(numbers[label] + 1):
        raise DataError(
            f"{where}: {label} is class {numbers[label] + 1} in classInd.txt, not {number}; restore the list"
        )
    return Sample(name=name, path=Path(name), label=numbers[label], group="")


def _is_ucf101(labels: tuple[str, ...]) -> bool:
    return len(labels) == 101 and (labels[0], labels[-1]) == ("ApplyEyeMakeup", "YoYo")


def _check_list(path: Path, samples: tuple[Sample, ...], *, expected: int | None) -> None:
    names = [sample.name for sample in samples]
    if len(set(names)) < len(names):
        repeated = next(name for name in names if names.count(name) > 1)
        raise DataError(f"{path}: lists {repeated} more than once; restore the list")
    if expected is not None and len(samples) != expected:
        raise DataError(f"{path}: {len(samples)} videos where UCF101 publishes {expected}; restore the list")
