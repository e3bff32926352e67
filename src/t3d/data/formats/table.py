"""Videos listed in a CSV or Parquet file: path, label and optionally start, end, split, group and tag."""

from collections.abc import Sequence
from pathlib import Path

from t3d.data.folders import find_videos
from t3d.data.labels import number_labels, sorted_labels
from t3d.data.lists import Row, check_rows, read_csv, read_parquet, sample_of
from t3d.data.samples import Sample, Subset, VideoList, source_subset, subset_named, with_groups
from t3d.data.splits import group_kfold
from t3d.errors import DataError


def recognise(root: Path) -> bool:
    """Whether this is a CSV or Parquet file, or a folder with a `videos.csv` or `videos.parquet`."""
    return _table_file(root) is not None


def read(root: Path, subset: Subset, *, split: int) -> VideoList:
    """Videos of one subset: by the column `split`, or of fold `split` if there is no such column.

    Paths are relative to the file. Whole numbers as labels are ordered by value.

    Raises:
        NoSuchSubsetError: No row belongs to the subset.
        DataError: The file or a row is malformed, or a test class has no training video.
    """
    path, rows = _read_table(root, required=("path", "label"))
    if "split" in rows[0].values:
        return _load_part(path, rows, subset, split=split)
    labels = sorted_labels(row.values["label"] for row in rows)
    everything, warnings = with_groups(_samples(rows, labels, where=str(path)))
    chosen = group_kfold(everything, subset, split=split, where=str(path))
    return _found(path, chosen, labels, split=f"fold {split} {subset} (made here, by group)", warnings=warnings)


def read_rows(root: Path) -> tuple[Path, list[Row]]:
    """Find the file and read its rows; only the column `path` is checked.

    Raises:
        DataError: There is no such file, it is malformed, or a row has no path or is repeated.
    """
    return _read_table(root, required=("path",))


def _read_table(root: Path, *, required: Sequence[str]) -> tuple[Path, list[Row]]:
    path = _table_file(root)
    if path is None:
        raise DataError(f"{root}: no CSV or Parquet file, nor a folder with a videos.csv or videos.parquet; name one")
    rows = read_parquet(path, required=required) if _is_parquet(path) else read_csv(path, required=required)
    check_rows(rows, required=required)
    return path, rows


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
