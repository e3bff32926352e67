"""Read lists of videos from text, CSV or Parquet, and turn rows into samples."""

import csv
import io
import math
import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from t3d.data.samples import Sample
from t3d.errors import DataError


@dataclass(frozen=True)
class Row:
    """One row of a table, with its position for error messages."""

    where: str
    values: dict[str, str]
    """From column to stripped text; missing cells are empty."""


def read_lines(path: Path) -> list[tuple[str, str]]:
    """Stripped non-empty lines of a UTF-8 text file, each with its `path:number`.

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
    import pyarrow  # slow to import, and only needed here
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


def check_rows(rows: Sequence[Row], *, required: Sequence[str]) -> None:
    """Refuse rows that lack a required cell or repeat a clip of a video.

    Raises:
        DataError: There is such a row.
    """
    for row in rows:
        for column in required:
            if not row.values[column]:
                raise DataError(f"{row.where}: no {column}; complete the row or remove it")
    first: dict[str, Row] = {}
    for row in rows:
        name = _piece_name(row)
        if name in first:
            raise DataError(f"{row.where}: {name} was listed before ({first[name].where}); keep one row")
        first[name] = row


def sample_of(row: Row, label: int) -> Sample:
    """The sample of a row with a column `path`; its path is as written in the row.

    Raises:
        DataError: `start` or `end` is not a number of seconds, or the end is not after the start.
    """
    start, end = _seconds(row, "start"), _seconds(row, "end")
    if end is not None and end <= (start or 0.0):
        raise DataError(f"{row.where}: end {end:g} is not after start {start or 0.0:g}; correct the seconds")
    return Sample(
        name=_piece_name(row),
        path=Path(_normal_path(row)),
        label=label,
        group=row.values.get("group", ""),
        start_seconds=start,
        end_seconds=end,
        tag=row.values.get("tag", ""),
    )


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
    absent = value is None or value != value  # NaN is an empty cell in a numeric column
    return "" if absent else str(value).strip()


def _normal_path(row: Row) -> str:
    return PurePosixPath(os.path.normpath(row.values["path"])).as_posix()


def _piece_name(row: Row) -> str:
    start, end = row.values.get("start", ""), row.values.get("end", "")
    return _normal_path(row) + (f"#{start}-{end}" if start or end else "")


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
