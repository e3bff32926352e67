"""Plan a copy of a dataset: the videos or clips that become files, and its lists."""

from collections.abc import Container, Sequence
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath

from t3d.data.formats import FORMATS, Format
from t3d.data.lists import Row, sample_of
from t3d.data.samples import UNLABELLED, Sample, with_groups
from t3d.data.unlabelled import load_unlabelled
from t3d.errors import DataError

TABLE_NAME = "videos.csv"


@dataclass(frozen=True, kw_only=True)
class Piece:
    """A video, or a clip of one, that becomes a file of the copy."""

    source: Sample
    target: str
    """Path in the copy, with forward slashes."""

    @property
    def is_part(self) -> bool:
        """Whether it is a clip of its source."""
        return (self.source.start_seconds, self.source.end_seconds) != (None, None)


@dataclass(frozen=True, kw_only=True)
class Mirror:
    """Files of the copy of a dataset."""

    pieces: tuple[Piece, ...]
    lists: dict[str, Path]
    """Files to copy unchanged, by their paths in the copy."""
    rows: tuple[dict[str, str], ...] = ()
    """Rows of the table `TABLE_NAME` before trimming; empty if the dataset is not a table."""
    missing: tuple[Path, ...] = ()
    """Missing files of the table."""

    def table(self, *, uncut: Container[str]) -> list[dict[str, str]]:
        """The rows; those of clips lose start and end, unless the whole file was copied instead."""
        parts = {piece.target for piece in self.pieces if piece.is_part}
        return [
            {**row, **{column: "" for column in ("start", "end") if column in row}}
            if row["path"] in parts and row["path"] not in uncut
            else row
            for row in self.rows
        ]


def mirror_dataset(root: Path, *, format: str | None = None, trim: bool = False) -> Mirror:
    """Plan a copy of every video of a dataset, of all its splits, and of its lists.

    Args:
        root: The dataset: labelled in any known format, a table without labels, or a folder of videos.
        format: Name in `FORMATS`; left out, it is recognised.
        trim: Keep only the clips of a table with `start` and `end`, each as its own file.

    Raises:
        DataError: There is no video, a table is malformed, two files would get one name, or `trim` without a table.
    """
    form = _format(root, format)
    if form is not None and form.rows is not None:
        return _of_table(*form.rows(root), trim=trim)
    if trim:
        raise DataError(f"{root}: --trim is of a CSV or Parquet file with columns start and end; leave it out")
    if not root.is_dir():
        raise DataError(f"{root}: no such folder, CSV or Parquet file; check the path of the dataset")
    videos = load_unlabelled(root).samples
    return Mirror(
        pieces=tuple(Piece(source=sample, target=sample.name) for sample in videos),
        lists={} if form is None else form.list_files(root),
    )


def _format(root: Path, name: str | None) -> Format | None:
    """The format of this name; by default the first that fits, if any."""
    if name is not None:
        return FORMATS[name]
    return next((form for form in FORMATS.values() if form.recognise(root)), None) if root.exists() else None


def _of_table(path: Path, rows: Sequence[Row], *, trim: bool) -> Mirror:
    samples, _ = with_groups([sample_of(row, UNLABELLED) for row in rows])
    pieces: dict[str, Piece] = {}
    copies = []
    for row, sample in zip(rows, samples, strict=True):
        piece = _piece(path.parent, sample, trim=trim)
        other = pieces.setdefault(piece.target, piece).source.path
        if other != piece.source.path:
            raise DataError(
                f"{row.where}: {other} and {piece.source.path} would both become {piece.target}; rename one"
            )
        copies.append(_copied(row, sample, piece.target))
    is_there = {target: piece.source.path.is_file() for target, piece in pieces.items()}
    present = tuple(piece for target, piece in pieces.items() if is_there[target])
    missing = tuple(piece.source.path for target, piece in pieces.items() if not is_there[target])
    if not present:
        raise DataError(
            f"{path}: none of its videos is there, the first would be {path.parent / samples[0].path}; unpack them"
        )
    return Mirror(pieces=present, lists={}, rows=tuple(copies), missing=missing)


def _piece(folder: Path, sample: Sample, *, trim: bool) -> Piece:
    target = PurePosixPath(*(part for part in PurePosixPath(sample.path.as_posix()).parts if part not in ("/", "..")))
    source = replace(sample, path=folder / sample.path)
    if not trim:
        source = replace(source, start_seconds=None, end_seconds=None)
    elif (sample.start_seconds, sample.end_seconds) != (None, None):
        target = target.with_stem(f"{target.stem}_{sample.name.rpartition('#')[2]}")
    return Piece(source=source, target=str(target))


def _copied(row: Row, sample: Sample, target: str) -> dict[str, str]:
    """The row of the copy; if its name changes, its group is written explicitly."""
    group = row.values.get("group", "") if target == sample.path.as_posix() else sample.group
    return {**row.values, "path": target, "group": group}
