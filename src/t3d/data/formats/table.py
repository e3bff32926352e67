"""Videos listed in a CSV or Parquet file: path, label and, if wanted, start, end, split, group and tag."""

import math
import os
from collections.abc import Sequence
from pathlib import Path, PurePosixPath

from t3d.data.lists import Row, find_videos, read_csv, read_parquet
from t3d.data.samples import (
    Sample,
    Subset,
    VideoList,
    number_labels,
    sorted_labels,
    source_subset,
    subset_named,
    with_groups,
)
from t3d.data.splits import fold_samples
from t3d.errors import DataError

_REQUIRED = ("path", "label")


def fits_table(root: Path) -> bool:
    """Whether this is a CSV or Parquet file, or a folder with a `videos.csv` or `videos.parquet`."""
    return _table_file(root) is not None


def load_table(root: Path, subset: Subset, *, split: int) -> VideoList:
    """Videos of one subset: of those the column `split` names, or of fold `split` where there is no such column.

    Paths are relative to the file. Whole numbers as labels are ordered by value.

    Raises:
        NoSuchSubsetError: No row belongs to the subset.
        DataError: The file or a row is malformed, or a class to be tested has no training video.
    """
    path, rows = read_table(root, required=_REQUIRED)
    if "split" in rows[0].values:
        return _load_part(path, rows, subset, split=split)
    labels = sorted_labels(row.values["label"] for row in rows)
    everything, warnings = with_groups(_samples(rows, labels, where=str(path)))
    chosen = fold_samples(everything, subset, split=split, where=str(path))
    return _found(path, chosen, labels, split=f"fold {split} {subset} (made here, by group)", warnings=warnings)


def read_table(root: Path, *, required: Sequence[str]) -> tuple[Path, list[Row]]:
    """Find the file and read its rows; what is in them beyond the required columns is the caller's to check.

    Raises:
        DataError: There is no such file, it is malformed, or a row lacks a required cell or was listed before.
    """
    path = _table_file(root)
    if path is None:
        raise DataError(f"{root}: no CSV or Parquet file, nor a folder with a videos.csv or videos.parquet; name one")
    rows = read_parquet(path, required=required) if _is_parquet(path) else read_csv(path, required=required)
    check_rows(rows, required=required)
    return path, rows


def check_rows(rows: Sequence[Row], *, required: Sequence[str]) -> None:
    """Refuse rows that lack a required cell, or that list the same piece of a video again.

    Raises:
        DataError: There is such a row.
    """
    for row in rows:
        for column in required:
            if not row.values[column]:
                raise DataError(f"{row.where}: no {column}; complete the row or remove it")
    first: dict[str, Row] = {}
    for row in rows:
        name = _name(row)
        if name in first:
            raise DataError(f"{row.where}: {name} was listed before ({first[name].where}); keep one row")
        first[name] = row


def sample_of(row: Row, label: int) -> Sample:
    """The sample that a row with a column `path` stands for; its path is still the row's own.

    Raises:
        DataError: `start` or `end` is no number of seconds, or the end is not after the start.
    """
    start, end = _seconds(row, "start"), _seconds(row, "end")
    if end is not None and end <= (start or 0.0):
        raise DataError(f"{row.where}: end {end:g} is not after start {start or 0.0:g}; correct the seconds")
    return Sample(
        name=_name(row),
        path=Path(_normal(row)),
        label=label,
        group=row.values.get("group", ""),
        start_seconds=start,
        end_seconds=end,
        tag=row.values.get("tag", ""),
    )


def _load_part(path: Path, rows: Sequence[Row], subset: Subset, *, split: int) -> VideoList:
    parts: dict[Subset, list[Row]] = {}
    for row in rows:
        named = subset_named(row.values["split"])
        if named is None:
            raise DataError(
                f"{row.where}: split {row.values['split']!r} is none of train, validation (val) and test; correct it"
            )
        parts.setdefault(named, []).append(row)
    source, warnings = source_subset(subset, parts, where=str(path))
    if split != 1:
        raise DataError(f"{path}: no split {split}; its column `split` makes up split 1, the only one")
    labels = sorted_labels(row.values["label"] for row in parts.get("train", parts[source]))
    samples, more = with_groups(_samples(parts[source], labels, where=str(path)))
    return _found(path, samples, labels, split=f"{subset} (column split)", warnings=warnings + more)


def _found(
    path: Path, wanted: Sequence[Sample], labels: tuple[str, ...], *, split: str, warnings: tuple[str, ...]
) -> VideoList:
    folder = path.parent
    placed, missing = find_videos(wanted, lambda sample: [folder / sample.path.parent], any_suffix=False)
    return VideoList(
        samples=placed,
        labels=labels,
        root=folder,
        format="csv",
        split=split,
        missing=tuple(folder / name for name in missing),
        warnings=warnings,
    )


def _table_file(root: Path) -> Path | None:
    if root.is_file():
        return root if root.suffix.lower() in (".csv", ".parquet") else None
    return next((path for name in ("videos.csv", "videos.parquet") if (path := root / name).is_file()), None)


def _is_parquet(path: Path) -> bool:
    return path.suffix.lower() == ".parquet"


def _samples(rows: Sequence[Row], labels: tuple[str, ...], *, where: str) -> list[Sample]:
    numbers = number_labels([row.values["label"] for row in rows], labels, where=where)
    return [sample_of(row, number) for row, number in zip(rows, numbers, strict=True)]


def _normal(row: Row) -> str:
    return PurePosixPath(os.path.normpath(row.values["path"])).as_posix()


def _name(row: Row) -> str:
    start, end = row.values.get("start", ""), row.values.get("end", "")
    return _normal(row) + (f"#{start}-{end}" if start or end else "")


def _seconds(row: Row, column: str) -> float | None:
    text = row.values.get(column, "")
    if not text:
        return None
    try:
        seconds = float(text)
    except ValueError:
        seconds = math.nan
    if not 0 <= seconds < math.inf:
        raise DataError(f"{row.where}: {column} {text!r} is not a number of seconds; correct it or leave it empty")
    return seconds
