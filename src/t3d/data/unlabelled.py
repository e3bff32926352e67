"""Videos without labels: any folder tree, a table, a plain list of (file, start, end), or one file.

Labels and subsets of a list are ignored. No video is opened.
"""

import csv
import os
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from t3d.data.folders import VIDEO_SUFFIXES, find_videos
from t3d.data.formats import warn_of_missing
from t3d.data.lists import Row, check_rows, read_csv, read_header, read_lines, read_parquet, sample_of
from t3d.data.samples import UNLABELLED, Sample, VideoList, with_groups
from t3d.errors import DataError

_LIST_SUFFIXES = frozenset({".csv", ".tsv", ".txt", ".lst", ".list", ""})
_COLUMNS = ("path", "start", "end")


def load_unlabelled(root: Path) -> VideoList:
    """List videos without labels.

    `root` is a folder (all videos in it, at any depth, without hidden ones); a CSV or Parquet file with a column `path`
    and optionally `start`, `end` (seconds) and `group`; a list with the lines `file`, `file start` or `file start end`,
    separated by commas, tabs or blanks, with comments after `#`; or one video. Paths in a list are relative to it, and
    a file may occur several times, for several clips.

    Returns:
        Samples with the label `UNLABELLED`. The group is the list's column, else that in the name of a UCF101, HMDB51
        or Kinetics file, else the file: clips of one file always share it.

    Raises:
        DataError: `root` does not exist or has no video, or a row is malformed or repeated.
    """
    if not root.exists():
        raise DataError(f"{root}: no such file or folder; check the path of the videos")
    if root.is_dir():
        videos = _folder_list(root)
        if not videos.samples:
            raise DataError(f"{root}: no videos in this folder or any below it; name another one")
        return videos
    suffix = root.suffix.lower()
    if suffix == ".parquet":
        return warn_of_missing(_row_list(root, read_parquet(root, required=["path"])), root)
    if suffix in _LIST_SUFFIXES:
        return warn_of_missing(_row_list(root, _read_list(root)), root)
    return _found(root.parent, [_whole_file(root.parent, root)])


def _folder_list(root: Path) -> VideoList:
    return _found(root, [_whole_file(root, path) for path in sorted(_videos_below(root))])


def _videos_below(root: Path) -> Iterator[Path]:
    """Every video at any depth; each folder is visited once, even if several links lead to it."""
    entered = set()
    for place, folders, files in os.walk(root, followlinks=True, onerror=_refuse):
        status = Path(place).stat()
        if (status.st_dev, status.st_ino) in entered:
            folders.clear()
            continue
        entered.add((status.st_dev, status.st_ino))
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        videos = (name for name in files if Path(name).suffix.lower() in VIDEO_SUFFIXES)
        yield from (Path(place) / name for name in videos if not name.startswith("."))


def _refuse(error: OSError) -> None:
    raise DataError(f"{error.filename}: cannot be read ({error.strerror}); check its permissions") from None


def _whole_file(root: Path, path: Path) -> Sample:
    return Sample(name=path.relative_to(root).as_posix(), path=path, label=UNLABELLED, group="")


def _read_list(path: Path) -> list[Row]:
    """Rows of a table if the header has a column `path`, else of a list without a header."""
    header = read_header(path)
    if "path" in header:
        return read_csv(path, required=["path"])
    if len(header) > 1 and header[1][:1].isalpha():
        raise DataError(f"{path}: no column 'path' among {', '.join(header)}; call the column of files `path`")
    rows = [_row(where, line) for where, line in read_lines(path) if not line.startswith("#")]
    if not rows:
        raise DataError(f"{path}: only comments; write one video a line, as `file start end`")
    return rows


def _row(where: str, line: str) -> Row:
    cells = _cells(line)
    if len(cells) > len(_COLUMNS):
        raise DataError(
            f"{where}: {len(cells)} cells where `file start end` is expected; remove the others, or name the columns "
            "in a first line with `path` in it"
        )
    padded = cells + [""] * (len(_COLUMNS) - len(cells))
    return Row(where, dict(zip(_COLUMNS, padded, strict=True)))


def _cells(line: str) -> list[str]:
    """Split a line at tabs, else commas, else blanks; with tabs or commas, file names may contain blanks."""
    for separator in ("\t", ","):
        if separator in line:
            return [cell.strip() for cell in next(csv.reader([line], delimiter=separator))]
    words = line.split()
    ends = [place for place, word in enumerate(words, start=1) if Path(word).suffix.lower() in VIDEO_SUFFIXES]
    length = ends[-1] if ends else 1
    return [" ".join(words[:length]), *words[length:]]


def _row_list(path: Path, rows: Sequence[Row]) -> VideoList:
    check_rows(rows, required=["path"])
    samples = [sample_of(row, UNLABELLED) for row in rows]
    folder = path.parent
    placed, missing = find_videos(samples, lambda sample: [folder / sample.path.parent], any_suffix=False)
    unused = [column for column in ("label", "split") if column in rows[0].values]
    warning = f"{path}: {' and '.join(unused)} of its rows are not used; every row is learnt from, without labels"
    return replace(
        _found(folder, placed),
        missing=tuple(folder / name for name in missing),
        warnings=(warning,) if unused else (),
    )


def _found(root: Path, samples: Sequence[Sample]) -> VideoList:
    grouped, _ = with_groups(samples)  # without its warning: one group per file is fine here
    return VideoList(samples=grouped, labels=(), root=root, format="unlabelled", split="every video, without labels")
