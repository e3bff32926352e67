"""Kinetics-400, 600 and 700: the published CSV lists, or one folder of trimmed videos per class.

Files are named `<youtube id>_<start>_<end>` with six digits each; missing videos are reported.

Source: Kay et al. 2017, arXiv:1705.06950; Carreira et al. 2018, arXiv:1808.01340, and 2019, arXiv:1907.06987.
"""

import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from t3d.data.folders import find_videos, folders_in, videos_in
from t3d.data.formats import folder
from t3d.data.labels import number_labels, sorted_labels
from t3d.data.lists import Row, read_csv, read_header
from t3d.data.samples import Sample, Subset, VideoList, source_subset, subset_named
from t3d.errors import DataError

_COLUMNS = ("youtube_id", "time_start", "time_end")


def recognise(root: Path) -> bool:
    """Whether the folder has Kinetics' lists, or train and validation folders of files named like Kinetics'."""
    return bool(_lists(root)) or any(_named_like_kinetics(part) for part in folder.subset_folders(root).values())


def list_files(root: Path) -> dict[str, Path]:
    """The lists, by their paths in the folder of the dataset."""
    return {path.relative_to(root).as_posix(): path for path in _lists(root).values()}


def read(root: Path, subset: Subset, *, split: int) -> VideoList:
    """Videos of one subset, from the lists if there are any, else from the folders.

    With lists, videos are searched in `subset/label`, `subset`, `label` and the folder itself, the labels spelt with
    spaces or underscores.

    Raises:
        NoSuchSubsetError: There is no list or folder for the subset.
        DataError: A list is malformed, or the labels of the test list are withheld.
    """
    lists = _lists(root)
    if not lists:
        return replace(folder.read(root, subset, split=split), format="kinetics")
    source, warnings = source_subset(subset, lists, where=str(root))
    if split != 1:
        raise DataError(f"{root}: no split {split}; Kinetics has one, number 1")
    labels, wanted = read_kinetics_list(lists[source], train_list=lists.get("train"))
    parts = [root / name for name in folders_in(root) if subset_named(name) == source]
    samples, missing = find_videos(wanted, lambda sample: _places(root, parts, label=labels[sample.label]))
    return VideoList(
        samples=samples,
        labels=labels,
        root=root,
        format="kinetics",
        split=f"{subset} ({lists[source].name})",
        missing=tuple((parts[0] if parts else root) / path for path in missing),
        warnings=warnings,
    )


def read_kinetics_list(path: Path, *, train_list: Path | None = None) -> tuple[tuple[str, ...], tuple[Sample, ...]]:
    """Read one published list, without looking for videos.

    Args:
        path: The list.
        train_list: The list that defines the classes; by default `path`.

    Returns:
        Sorted labels, and samples with paths `label/<youtube id>_<start>_<end>.mp4`.

    Raises:
        DataError: A column is missing, a row malformed, or the labels are withheld.
    """
    rows = read_csv(path, required=_COLUMNS)
    if not any(row.values.get("label") for row in rows):
        raise DataError(f"{path}: the labels of this list are withheld; use the validation list (--subset validation)")
    names = [_label(row) for row in rows]
    known = names if train_list in (None, path) else [_label(row) for row in read_csv(train_list, required=_COLUMNS)]
    labels = sorted_labels(known)
    numbers = number_labels(names, labels, where=str(path))
    samples = tuple(_sample(row, name, number) for row, name, number in zip(rows, names, numbers, strict=True))
    _check_distinct(path, samples)
    return labels, samples


def _lists(root: Path) -> dict[Subset, Path]:
    found: dict[Subset, Path] = {}
    for path in sorted([*root.glob("*.csv"), *(root / "annotations").glob("*.csv")]):
        words = re.split(r"[^a-z]+", path.stem.lower())
        subset = next((named for word in words if (named := subset_named(word))), None)
        if subset is None or "youtube_id" not in read_header(path):
            continue
        if subset in found:
            raise DataError(f"{root}: {found[subset].name} and {path.name} both list {subset} videos; keep one")
        found[subset] = path
    return found


def _named_like_kinetics(part: Path) -> bool:
    first = next((name for label in folders_in(part) for name in videos_in(part / label)[:1]), "")
    return re.fullmatch(r"[\w-]{11}_\d{6}_\d{6}", Path(first).stem) is not None


def _label(row: Row) -> str:
    label = row.values.get("label", "").replace("_", " ")
    if not label:
        raise DataError(f"{row.where}: no label; complete the row or remove it")
    return label


def _sample(row: Row, label: str, number: int) -> Sample:
    video = row.values["youtube_id"]
    try:
        start, end = (int(float(row.values[column])) for column in ("time_start", "time_end"))
    except (ValueError, OverflowError):
        raise DataError(f"{row.where}: time_start and time_end must be numbers of seconds; correct the row") from None
    name = f"{label}/{video}_{start:06d}_{end:06d}.mp4"
    return Sample(name=name, path=Path(name), label=number, group=video)


def _check_distinct(path: Path, samples: tuple[Sample, ...]) -> None:
    seen: set[str] = set()
    for sample in samples:
        if sample.path.name in seen:
            raise DataError(f"{path}: lists {sample.path.stem} more than once; keep one row")
        seen.add(sample.path.name)


def _places(root: Path, parts: list[Path], *, label: str) -> Iterator[Path]:
    for parent in (*parts, root):
        yield parent / label
        yield parent / label.replace(" ", "_")
    yield from (*parts, root)
