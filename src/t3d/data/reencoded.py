"""Datasets that `t3d data prepare` re-encoded: their manifest, their originals, and which files a copy has."""

import json
from collections.abc import Callable, Container, Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path, PurePosixPath
from typing import Any

from t3d.data.formats import FORMATS
from t3d.data.formats.table import fits_table, read_table, sample_of
from t3d.data.lists import Row
from t3d.data.samples import UNLABELLED, Sample, with_groups
from t3d.data.unlabelled import load_unlabelled
from t3d.errors import DataError
from t3d.files import write_text

DESCRIPTION = "prepared.json"
"""What a folder says of itself: its source, and how it was prepared. Without it, it is no prepared dataset."""
_MANIFEST = "manifest.jsonl"


@dataclass(frozen=True, kw_only=True)
class Entry:
    """One file that is done."""

    path: str
    """In the prepared dataset."""
    num_bytes: int
    num_frames: int
    source: str
    source_bytes: int
    source_modified_ns: int
    crf: int | None
    """Of the encoder; None where the file is a copy of the original as it was."""
    error: str = ""
    """Why it is such a copy."""
    decodable: bool = True
    """Whether the original, at least, can be decoded."""

    def still_holds(self, folder: Path, source: Path) -> bool:
        """Whether the file is there, was made of this original, and that is as it was."""
        file = folder / self.path
        if self.source != str(source.resolve()) or not source.is_file() or not file.is_file():
            return False
        original = source.stat()
        unchanged = (self.source_bytes, self.source_modified_ns) == (original.st_size, original.st_mtime_ns)
        return unchanged and file.stat().st_size == self.num_bytes

    def line(self) -> str:
        """As the manifest has it."""
        return json.dumps(asdict(self)) + "\n"


def read_manifest(folder: Path) -> dict[str, Entry | None]:
    """The last that is known of each file, by its path; None of one that was begun only."""
    return {row["path"]: _entry(row) for row in _rows(folder)}


def write_manifest(folder: Path, entries: Iterable[Entry]) -> None:
    """Know of these files only."""
    write_text(folder / _MANIFEST, "".join(entry.line() for entry in entries))


def note_begun(folder: Path, path: str) -> None:
    """Say that a file is about to be written, so that it is known whose it is."""
    _add(folder, json.dumps({"path": path}) + "\n")


def note_done(folder: Path, entry: Entry) -> None:
    """Say what a file is."""
    _add(folder, entry.line())


def read_description(folder: Path) -> dict[str, Any]:
    """What the folder says of itself; nothing where it is not a prepared dataset."""
    try:
        said = json.loads((folder / DESCRIPTION).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return said if isinstance(said, dict) and isinstance(said.get("settings"), dict) else {}


def _add(folder: Path, line: str) -> None:
    with (folder / _MANIFEST).open("a", encoding="utf-8") as file:
        file.write(line)


def _rows(folder: Path) -> Iterator[dict[str, Any]]:
    """Lines that are whole and name a file."""
    if not (folder / _MANIFEST).is_file():
        return
    for line in (folder / _MANIFEST).read_text(encoding="utf-8", errors="replace").splitlines():
        try:
            row = json.loads(line)
        except ValueError:
            continue
        if isinstance(row, dict) and "path" in row:
            yield row


def _entry(row: dict[str, Any]) -> Entry | None:
    try:
        return Entry(**row)
    except TypeError:
        return None


class Originals:
    """Goes by what prepared datasets say of themselves, and reads each of them once.

    Paths are absolute, without links. What was prepared from prepared files is followed to the first original.
    """

    def __init__(self) -> None:
        self._homes: dict[Path, Path | None] = {}
        self._sources: dict[Path, dict[Path, Path]] = {}

    def of(self, video: Path) -> Path:
        """The file that this one was made of, or itself."""
        return _first(video, self._source_of_video)

    def of_dataset(self, folder: Path) -> Path:
        """The folder of the dataset that this one was made of, or itself."""
        return _first(folder, _source_of_dataset)

    def _source_of_video(self, video: Path) -> Path | None:
        home = self._home(video.parent)
        if home is None:
            return None
        if home not in self._sources:
            entries = read_manifest(home).items()
            self._sources[home] = {home / path: Path(entry.source) for path, entry in entries if entry is not None}
        return self._sources[home].get(video)

    def _home(self, folder: Path) -> Path | None:
        """The prepared dataset that a folder is of."""
        if folder not in self._homes:
            below = None if folder == folder.parent else self._home(folder.parent)
            self._homes[folder] = folder if read_description(folder) else below
        return self._homes[folder]


def _source_of_dataset(folder: Path) -> Path | None:
    said = read_description(folder)
    source = Path(said["settings"]["source"]) if said else None
    return source.parent if source is not None and source.is_file() else source


def _first(path: Path, source_of: Callable[[Path], Path | None]) -> Path:
    """Follow sources as far as they go; folders may have been prepared from each other in turn."""
    passed = {path}
    while (source := source_of(path)) is not None and source not in passed:
        passed.add(source)
        path = source
    return path


TABLE_NAME = "videos.csv"


@dataclass(frozen=True, kw_only=True)
class Piece:
    """A video, or the part of one, that becomes a file of the copy."""

    source: Sample
    target: str
    """Path in the copy, with forward slashes."""

    @property
    def is_part(self) -> bool:
        """Whether it is cut from its source."""
        return (self.source.start_seconds, self.source.end_seconds) != (None, None)


@dataclass(frozen=True, kw_only=True)
class Mirror:
    """What the copy of a dataset consists of."""

    pieces: tuple[Piece, ...]
    lists: dict[str, Path]
    """Files to be copied as they are, by their paths in the copy."""
    rows: tuple[dict[str, str], ...] = ()
    """Of the table `TABLE_NAME`, as if no file were cut; none where the dataset is no table."""
    missing: tuple[Path, ...] = ()
    """Files that the table names and that are not there."""

    def table(self, *, uncut: Container[str]) -> list[dict[str, str]]:
        """The rows; those of parts lose their seconds, unless the part became the whole file after all."""
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
        trim: Of a table with columns `start` and `end`, keep these parts only, each as a file of its own.

    Raises:
        DataError: There is no video, a table is malformed, two files would get one name, or `trim` is of no table.
    """
    if format == "csv" or (format is None and root.exists() and fits_table(root)):
        return _of_table(*read_table(root, required=["path"]), trim=trim)
    if trim:
        raise DataError(f"{root}: --trim is of a CSV or Parquet file with columns start and end; leave it out")
    if not root.is_dir():
        raise DataError(f"{root}: no such folder, CSV or Parquet file; check the path of the dataset")
    names = [format] if format else [name for name, layout in FORMATS.items() if layout.fits(root)][:1]
    videos = load_unlabelled(root).samples
    return Mirror(
        pieces=tuple(Piece(source=sample, target=sample.name) for sample in videos),
        lists={place: path for name in names for place, path in FORMATS[name].lists(root).items()},
    )


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
    """The row that stands for the copy; where its name is a new one, its group is written out."""
    group = row.values.get("group", "") if target == sample.path.as_posix() else sample.group
    return {**row.values, "path": target, "group": group}
