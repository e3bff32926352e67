"""Make one file of a prepared dataset. Which ones, and in which process, is `t3d.recipes.prepare`'s business."""

import shutil
from dataclasses import dataclass, replace
from pathlib import Path

from t3d.data.clips import frames_of
from t3d.data.manifest import Entry
from t3d.data.mirror import Piece
from t3d.errors import DecodeError, T3DError
from t3d.files import complete
from t3d.video.preparation import NotFaithfulError, PreparedForm, prepare_video
from t3d.video.pyav_reader import PyAVVideo


@dataclass(frozen=True, kw_only=True)
class Task:
    """One file to be made."""

    piece: Piece
    folder: Path
    form: PreparedForm


def prepare_piece(task: Task) -> Entry:
    """Write the file; or copy the whole original as it is, so that nothing is lost, failures included.

    Raises:
        T3DError: It cannot be written.
    """
    source, target = task.piece.source.path, task.folder / task.piece.target
    try:
        status = source.stat()
        target.parent.mkdir(parents=True, exist_ok=True)
        made = _prepared(task, target)
        if made.error:
            with complete(target) as unfinished:
                shutil.copyfile(source, unfinished)
        num_bytes = target.stat().st_size
    except OSError as reason:
        where = reason.filename or target
        raise T3DError(f"{where}: {reason.strerror or reason}; the same command goes on once this is mended") from None
    return Entry(
        path=task.piece.target,
        num_bytes=num_bytes,
        source=str(source.resolve()),
        source_bytes=status.st_size,
        source_modified_ns=status.st_mtime_ns,
        num_frames=made.num_frames,
        crf=made.crf,
        error=made.error,
        decodable=made.decodable,
    )


@dataclass(frozen=True, kw_only=True)
class _Made:
    """What came of it: a file, or why there is none."""

    num_frames: int = 0
    crf: int | None = None
    error: str = ""
    decodable: bool = True


def _prepared(task: Task, target: Path) -> _Made:
    """Encode more and more finely, without loss in the end, until the file shows what the original does."""
    made = _Made()
    try:
        with PyAVVideo(task.piece.source.path) as video:
            first, last = frames_of(video, task.piece.source)
            for crf in dict.fromkeys((task.form.crf, task.form.crf // 2, task.form.crf // 4, 0)):
                try:
                    prepare_video(video, target, replace(task.form, crf=crf), first=first, last=last)
                    return _Made(num_frames=last - first, crf=crf)
                except NotFaithfulError as reason:
                    made = _Made(error=str(reason))
    except DecodeError as reason:
        made = _Made(error=str(reason), decodable=False)
    return made
