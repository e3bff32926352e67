"""Make one file of a prepared dataset. Which ones, and in which process, is `t3d.recipes.prepare`'s business."""

import shutil
from dataclasses import dataclass
from pathlib import Path

from t3d.data.clips import frames_of
from t3d.data.mirror import Piece
from t3d.errors import DecodeError, T3DError
from t3d.files import complete
from t3d.recipes.manifest import Entry
from t3d.video.preparation import PreparedForm, prepare_video
from t3d.video.pyav_reader import PyAVVideo


@dataclass(frozen=True, kw_only=True)
class Task:
    """One file to be made."""

    piece: Piece
    folder: Path
    form: PreparedForm


def prepare_piece(task: Task) -> Entry:
    """Write the file, or what fails as the original does, so that it is not lost to those who count failures.

    Raises:
        T3DError: It cannot be written.
    """
    source, target = task.piece.source, task.folder / task.piece.target
    error, num_frames = "", 0
    try:
        status = source.path.stat()
        target.parent.mkdir(parents=True, exist_ok=True)
        try:
            with PyAVVideo(source.path) as video:
                first, last = frames_of(video, source)
                prepare_video(video, target, task.form, first=first, last=last)
                num_frames = last - first
        except DecodeError as reason:
            error = str(reason)
            _stand_in(task.piece, target)
        num_bytes = target.stat().st_size
    except OSError as reason:
        where = reason.filename or target
        raise T3DError(f"{where}: {reason.strerror or reason}; the same command goes on once this is mended") from None
    return Entry(
        path=task.piece.target,
        num_bytes=num_bytes,
        num_frames=num_frames,
        source=str(source.path.absolute()),
        source_bytes=status.st_size,
        source_modified_ns=status.st_mtime_ns,
        error=error,
    )


def _stand_in(piece: Piece, target: Path) -> None:
    """Copy a file that cannot be decoded; of a part of one, leave an empty file, for the whole may well be decoded."""
    with complete(target) as unfinished:
        if piece.source.start_seconds is piece.source.end_seconds is None:
            shutil.copyfile(piece.source.path, unfinished)
        else:
            unfinished.touch()
