"""Read text files that list videos or labels, and find the listed videos on the disk."""

import csv
import io
import json
import os
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from t3d.data.samples import Sample
from t3d.errors import DataError


@dataclass(frozen=True)
class Row:
    """One row of a table, and where it stands, for messages."""

    where: str
    values: dict[str, str]
    """Column to text, stripped; absent cells are empty."""


def read_lines(path: Path) -> list[tuple[str, str]]:
    """Non-empty lines of a UTF-8 text file, stripped, each after its `path:number`.

    Raises:
        DataError: There is no such file, or it is not text.
    """
    lines = _read_text(path).splitlines()
    return [(f"{path}:{number}", line.strip()) for number, line in enumerate(lines, start=1) if line.strip()]


def read_header(path: Path) -> list[str]:
    """Column names of a CSV file, lower case.

    Raises:
        DataError: There is no such file, it is empty, or it is not text.
    """
    for line in _read_text(path).splitlines():
        if line.strip():
            return [name.strip().lower() for name in next(csv.reader([line]))]
    raise DataError(f"{path}: empty; expected a first line with the names of the columns")


def read_csv(path: Path, *, required: Iterable[str]) -> list[Row]:
    """Rows of a comma-separated file with a header.

    Raises:
        DataError: The file is empty, not text, not separated by commas, or lacks a column; a row has too many cells.
    """
    header = read_header(path)
    _check_columns(path, header, required)
    try:
        reader = csv.reader(io.StringIO(_read_text(path), newline=""), strict=True)
        rows = list(_rows(path, header, reader))
    except csv.Error as error:
        raise DataError(f"{path}: not readable as CSV ({error}); save it as comma-separated UTF-8") from None
    if not rows:
        raise DataError(f"{path}: only a header; add one row a video")
    return rows


def read_parquet(path: Path, *, required: Iterable[str]) -> list[Row]:
    """Rows of a Parquet file, as text.

    Raises:
        DataError: The file is not Parquet, has no row, or lacks a column.
    """
    import pyarrow  # only this reader needs it, and its import takes a while
    import pyarrow.parquet

    try:
        table = pyarrow.parquet.read_table(path)
    except (pyarrow.ArrowException, OSError) as error:
        reason = str(error).splitlines()[0]
        raise DataError(f"{path}: not readable as Parquet ({reason}); write it anew or use CSV") from None
    header = [str(name).strip().lower() for name in table.column_names]
    _check_columns(path, header, required)
    if not table.num_rows:
        raise DataError(f"{path}: no rows; add one row a video")
    columns = [[_cell(value) for value in column.to_pylist()] for column in table.columns]
    return [
        Row(f"{path}, row {number}", dict(zip(header, cells, strict=True)))
        for number, cells in enumerate(zip(*columns, strict=True), start=1)
    ]


def _read_text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8-sig")
    except FileNotFoundError:
        raise DataError(f"{path}: no such file; complete the lists of the dataset") from None
    except UnicodeDecodeError:
        raise DataError(f"{path}: not UTF-8 text; save it as UTF-8") from None
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror}); check the path and its permissions") from None


def _check_columns(path: Path, header: list[str], required: Iterable[str]) -> None:
    repeated = sorted({name for name in header if header.count(name) > 1})
    if repeated:
        raise DataError(f"{path}: column {repeated[0]!r} appears twice; keep one")
    for name in required:
        if name not in header:
            hint = _separator_hint(header)
            raise DataError(f"{path}: no column {name!r} among {', '.join(header)}; {hint}")


def _separator_hint(header: list[str]) -> str:
    for separator, name in ((";", "semicolons"), ("\t", "tabs"), ("|", "bars")):
        if len(header) == 1 and separator in header[0]:
            return f"the columns are separated by {name}: save it with commas"
    return "name the columns in the first line"


def _rows(path: Path, header: list[str], reader: Iterator[list[str]]) -> Iterator[Row]:
    seen_header = False
    for cells in reader:
        if not any(cell.strip() for cell in cells):
            continue
        if not seen_header:
            seen_header = True
            continue
        where = f"{path}:{reader.line_num}"  # type: ignore[attr-defined]
        if len(cells) > len(header):
            raise DataError(f"{where}: {len(cells)} cells for {len(header)} columns; quote text that contains a comma")
        padded = cells + [""] * (len(header) - len(cells))
        yield Row(where, {name: cell.strip() for name, cell in zip(header, padded, strict=True)})


def _cell(value: object) -> str:
    absent = value is None or value != value  # NaN is how tables of numbers leave a cell empty
    return "" if absent else str(value).strip()


VIDEO_SUFFIXES = frozenset({".mp4", ".avi", ".mkv", ".webm", ".mov", ".gif", ".m4v", ".mpg", ".mpeg", ".wmv"})


def entries(folder: Path) -> list[str]:
    """Names of what a folder holds, sorted, hidden ones left out; none where there is no such folder.

    Raises:
        DataError: The folder may not be read.
    """
    try:
        return sorted(name for name in os.listdir(folder) if not name.startswith("."))  # noqa: PTH208
    except (FileNotFoundError, NotADirectoryError):
        return []
    except OSError as error:
        raise DataError(f"{folder}: cannot be read ({error.strerror}); check its permissions") from None


def videos_in(folder: Path) -> list[str]:
    """File names in a folder that end like a video's, sorted."""
    return [name for name in entries(folder) if Path(name).suffix.lower() in VIDEO_SUFFIXES]


def folders_in(folder: Path) -> list[str]:
    """Names of the folders in a folder, sorted, hidden ones left out."""
    return [name for name in entries(folder) if (folder / name).is_dir()]


def find_videos(
    wanted: Iterable[Sample], places: Callable[[Sample], Iterable[Path]], *, any_suffix: bool = True
) -> tuple[tuple[Sample, ...], tuple[Path, ...]]:
    """Give each sample the path of its video.

    Args:
        wanted: Samples whose `path` is where the video should be; its last part is the file's name.
        places: The folders a sample's video may be in, best first.
        any_suffix: A file of the same name but for its suffix will do: many unpack AVI and keep MP4.

    Returns:
        The samples whose videos are there, and the paths of those that are not.
    """
    known = _Folders()
    present, missing = [], []
    for sample in wanted:
        paths = (known.find(place, sample.path.name, any_suffix=any_suffix) for place in places(sample))
        path = next((path for path in paths if path is not None), None)
        if path is None:
            missing.append(sample.path)
        else:
            present.append(replace(sample, path=path))
    return tuple(present), tuple(missing)


class _Folders:
    """What the folders looked into so far hold."""

    def __init__(self) -> None:
        self._names: dict[Path, frozenset[str]] = {}
        self._by_stem: dict[Path, dict[str, str]] = {}

    def find(self, folder: Path, name: str, *, any_suffix: bool) -> Path | None:
        if folder not in self._names:
            self._names[folder] = frozenset(entries(folder))
            self._by_stem[folder] = {Path(video).stem: video for video in videos_in(folder)} if any_suffix else {}
        if name in self._names[folder]:
            return folder / name
        other = self._by_stem[folder].get(Path(name).stem)
        return None if other is None else folder / other


def read_label_file(path: Path) -> tuple[str, ...]:
    """Read class names: lines of text, a CSV of numbers and names, or JSON.

    JSON is a list of names, or an object that gives each name its number or each number its name. Numbers begin at 0
    or at 1.

    Raises:
        DataError: The file cannot be read, or does not name each class once.
    """
    try:
        text = path.read_text(encoding="utf-8-sig")
        if path.suffix == ".json":
            labels = _from_json(json.loads(text))
        elif path.suffix == ".csv":
            labels = _from_rows(csv.reader(text.splitlines()))
        else:
            labels = tuple(line.strip() for line in text.splitlines() if line.strip())
    except (OSError, ValueError, csv.Error) as error:
        reason = error.strerror if isinstance(error, OSError) else " ".join(str(error).split())[:200]
        raise DataError(f"{path}: no list of class names ({reason})") from error
    twice = next((label for index, label in enumerate(labels) if label in labels[:index]), None)
    if twice is not None:
        raise DataError(f"{path}: names the class {twice!r} twice; make the names distinct")
    return labels


def _from_json(content: object) -> tuple[str, ...]:
    if isinstance(content, list) and all(isinstance(name, str) for name in content):
        return tuple(content)
    if isinstance(content, dict) and all(isinstance(value, str | int) for value in content.values()):
        return _in_order((key, str(value)) for key, value in content.items())
    raise ValueError("JSON, but neither a list of names nor an object of names and numbers")


def _from_rows(rows: Iterable[list[str]]) -> tuple[str, ...]:
    pairs = [(row[0].strip(), row[1].strip()) for row in rows if len(row) > 1]
    if pairs and not any(cell.isdecimal() for cell in pairs[0]):
        pairs = pairs[1:]  # the header
    return _in_order(pairs)


def _in_order(pairs: Iterable[tuple[str, str]]) -> tuple[str, ...]:
    """Names by their numbers, which may stand on either side."""
    entries = list(pairs)
    if not all(number.isdecimal() for number, _ in entries):
        entries = [(number, name) for name, number in entries]
    if not entries or not all(number.isdecimal() for number, _ in entries):
        raise ValueError("neither of two columns holds whole numbers only")
    entries.sort(key=lambda entry: int(entry[0]))
    numbers = [int(number) for number, _ in entries]
    if numbers[0] > 1 or numbers != list(range(numbers[0], numbers[0] + len(numbers))):
        raise ValueError("the numbers do not count on from 0 or 1 without a gap")
    return tuple(name for _, name in entries)
