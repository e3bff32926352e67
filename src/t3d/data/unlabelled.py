"""Videos without labels: any folder tree, a table, a plain list of (file, start, end), or one file.

Labels and subsets that a list may hold are not used, and nothing here opens a video.
"""

import csv
import os
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from t3d.data.formats import with_missing_named
from t3d.data.formats.table import check_rows, sample_of
from t3d.data.lists import VIDEO_SUFFIXES, Row, find_videos, read_csv, read_header, read_lines, read_parquet
from t3d.data.samples import UNLABELLED, Sample, VideoList, with_groups
from t3d.errors import DataError

if TYPE_CHECKING:
    import torch  # imported where videos are drawn: reading lists must not wait for it

_LIST_SUFFIXES = frozenset({".csv", ".tsv", ".txt", ".lst", ".list", ""})
_COLUMNS = ("path", "start", "end")
_MIN_GROUPS = 2


def load_unlabelled(root: Path) -> VideoList:
    """List videos without regard to labels.

    What lies at `root` decides: all videos below a folder, hidden ones left out; the rows of a CSV or Parquet file with
    a column `path` and, if wanted, `start`, `end` (seconds) and `group`; the lines `file`, `file start` or
    `file start end` of a list, separated by commas, tabs or blanks, `#` before a comment; or one video. A list's paths
    are relative to it, and it may name a file several times, for several pieces.

    Returns:
        Samples of the label `UNLABELLED`. Their group is that of the list's column, else what the name of a UCF101,
        HMDB51 or Kinetics file tells, else the file: pieces of one file always share it.

    Raises:
        DataError: There is nothing at `root`, no video in it, or a row is malformed or listed twice.
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
        return with_missing_named(_row_list(root, read_parquet(root, required=["path"])), root)
    if suffix in _LIST_SUFFIXES:
        return with_missing_named(_row_list(root, _read_list(root)), root)
    return _found(root.parent, [_whole_file(root.parent, root)])


def hold_out(videos: VideoList, *, fraction: float, generator: "torch.Generator") -> tuple[VideoList, VideoList]:
    """Divide videos into some to learn from and some to judge by, in whole groups.

    Groups are looked at in random order; each is held out if that brings the videos held out nearer to their share. At
    least two groups are on either side, for a video can only be told from another one.

    Args:
        videos: The list to divide.
        fraction: Share of the videos to hold out, 0..1, both excluded.
        generator: Decides which groups.

    Returns:
        The videos to learn from and the videos held out, in the order of the list.

    Raises:
        DataError: There are fewer than four groups.
    """
    sizes = Counter(sample.group for sample in videos.samples)
    if len(sizes) < 2 * _MIN_GROUPS:
        raise DataError(
            f"{videos.root}: too few videos to hold some out: {len(sizes)} different files or groups, and at least "
            f"{2 * _MIN_GROUPS} are needed; add videos"
        )
    chosen = _choose_groups(sizes, fraction * sizes.total(), generator)
    share = f"{len(chosen)} of {len(sizes)} groups"
    return (
        replace(
            videos,
            samples=tuple(sample for sample in videos.samples if sample.group not in chosen),
            split=f"{videos.split}, less {share} held out",
        ),
        replace(
            videos,
            samples=tuple(sample for sample in videos.samples if sample.group in chosen),
            split=f"held out: {share} of {videos.split}",
            missing=(),
            warnings=(),
        ),
    )


def _folder_list(root: Path) -> VideoList:
    return _found(root, [_whole_file(root, path) for path in sorted(_videos_below(root))])


def _videos_below(root: Path) -> Iterator[Path]:
    """Every video at any depth; a folder that several links lead to is entered once."""
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
    """Rows of a table if the first line names a column `path`, else of a list without a header."""
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
    """Divide a line at its tabs, else its commas, else its blanks; a file's name may then hold blanks itself."""
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
    grouped, _ = with_groups(samples)  # that files stand for groups is no cause for concern here
    return VideoList(samples=grouped, labels=(), root=root, format="unlabelled", split="every video, without labels")


def _choose_groups(sizes: Counter[str], target: float, generator: "torch.Generator") -> set[str]:
    """Groups that together hold about `target` videos, and two at least on either side."""
    import torch

    names = sorted(sizes)
    order = [names[index] for index in torch.randperm(len(names), generator=generator).tolist()]
    chosen: list[str] = []
    num_videos = 0
    for group in order:
        nearer = abs(num_videos + sizes[group] - target) < abs(num_videos - target)
        if nearer and len(chosen) < len(order) - _MIN_GROUPS:
            chosen.append(group)
            num_videos += sizes[group]
    smallest_first = sorted((group for group in order if group not in chosen), key=lambda group: sizes[group])
    return {*chosen, *smallest_first[: max(0, _MIN_GROUPS - len(chosen))]}
