"""Re-encode every video of a dataset once, for faster reading; a repeated command continues."""

import json
import os
import shutil
from collections.abc import Collection, Iterable, Iterator, Sequence
from contextlib import closing
from dataclasses import asdict, dataclass, replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

from t3d import __version__
from t3d.commands._console import counted, warn
from t3d.commands._datasets import resolve
from t3d.config import PrepareConfig
from t3d.data.mirror import TABLE_NAME, Mirror, Piece, mirror_dataset
from t3d.data.reencoded import (
    DESCRIPTION,
    Entry,
    note_begun,
    note_done,
    read_description,
    read_manifest,
    write_manifest,
)
from t3d.errors import ConfigError, DecodeError, T3DError
from t3d.files import complete, locked, make_folder, write_csv, write_text
from t3d.video.spec import PreparedForm
from t3d.workers import process_map

FAILED = "failed.csv"


def run(config: PrepareConfig, *, command: str) -> dict[str, Any]:
    """Plan the copy, create missing files, and write the description.

    Raises:
        ConfigError: The folder contains something else, was prepared with other flags, or is in use.
        DataError: There is no dataset, or no video in it.
        T3DError: A file cannot be written, or a process died.
    """
    root, folder = resolve(config.data), config.output
    mirror = mirror_dataset(root, format=config.format, trim=config.trim)
    if mirror.missing:
        total = len(mirror.missing) + len(mirror.pieces)
        warn(f"{len(mirror.missing)} of {total} listed videos are not there, the first {mirror.missing[0]}; left out")
    form = PreparedForm(short_side=config.short_side, keyframes=config.keyframes, crf=config.crf)
    settings: dict[str, Any] = {"source": str(root.resolve()), **asdict(form), "trim": config.trim}
    _check_folder(folder, root, settings, overwrite=config.overwrite)
    make_folder(folder)
    with locked(folder / ".lock", wait=False):
        known = read_manifest(folder)
        if known and read_description(folder).get("settings") != settings:
            _remove(folder, known)
        versions = {"t3d": __version__, "pyav": version("av")}
        description: dict[str, Any] = {"settings": settings, "versions": versions, "command": command}
        _write_description(folder, {**description, "complete": False})
        kept = _kept(folder, mirror)
        _copy_lists(folder, mirror)
        tasks = [Task(piece=piece, folder=folder, form=form) for piece in mirror.pieces if piece.target not in kept]
        entries = [*kept.values(), *_made(folder, tasks, num_workers=_num_workers(config))]
        failed = [entry for entry in entries if entry.error]
        _write_table(folder, mirror, uncut={entry.path for entry in failed})
        _write_failures(folder, failed)
        description = {**description, "complete": True, **_totals(entries)}
        _write_description(folder, description)
    return description


def show(description: dict[str, Any], config: PrepareConfig) -> int:
    """Print a summary of the folder; exit code 1 if some files are unchanged copies of the original."""
    before, after = description["bytes_before"], description["bytes_after"]
    print(
        f"{config.output}: {description['videos']} videos, {description['frames']} frames, "
        f"{before / 1e6:.1f} MB before, {after / 1e6:.1f} MB now ({after / max(before, 1):.2f} x)"
    )
    if description["undecodable"]:
        print(f"{description['undecodable']} cannot be decoded and fail as before: {config.output / FAILED} says why")
    if description["unprepared"]:
        print(
            f"{description['unprepared']} cannot be prepared so that they show the same, and are copies of the "
            f"originals, to be used like the others: {config.output / FAILED} says why"
        )
    return int(description["undecodable"] + description["unprepared"] > 0)


@dataclass(frozen=True, kw_only=True)
class Task:
    """One file to create."""

    piece: Piece
    folder: Path
    form: PreparedForm


def prepare_piece(task: Task) -> Entry:
    """Re-encode to the file, or copy the whole original unchanged if that fails.

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


def _num_workers(config: PrepareConfig) -> int:
    return (os.cpu_count() or 1) if config.workers is None else config.workers


def _check_folder(folder: Path, root: Path, settings: dict[str, Any], *, overwrite: bool) -> None:
    """Refuse to write among the originals, among other files, or beside videos prepared with other flags."""
    home = root.resolve() if root.is_dir() else root.resolve().parent
    if folder.resolve() == home or (root.is_dir() and folder.resolve().is_relative_to(home)):
        raise ConfigError(f"{folder}: lies in the dataset itself; name a folder elsewhere")
    # Names of locks and partial files begin with a dot.
    if folder.is_dir() and any(not path.name.startswith(".") for path in folder.iterdir()):
        before = read_description(folder).get("settings")
        if before is None and not any(read_manifest(folder).values()):  # other programs call a file so, too
            raise ConfigError(f"{folder}: holds other files; name a new folder")
        if before is None and not overwrite:
            raise ConfigError(f"{folder / DESCRIPTION}: missing or damaged; --overwrite prepares all videos anew")
        if before not in (None, settings) and not overwrite:
            different = ", ".join(
                _flag(name, before.get(name)) for name in settings if before.get(name) != settings[name]
            )
            raise ConfigError(f"{folder}: was prepared {different}; repeat that, name a new folder, or --overwrite")


def _flag(name: str, value: object) -> str:
    """A setting as written on the command line."""
    if name == "source":
        return f"from {value}"
    flag = f"--{name.replace('_', '-')}"
    if isinstance(value, bool):
        return f"{'with' if value else 'without'} {flag}"
    return f"with {flag} {value}"


def _kept(folder: Path, mirror: Mirror) -> dict[str, Entry]:
    """Finished files; unfinished and obsolete ones are removed."""
    known = read_manifest(folder)
    kept = {}
    for piece in mirror.pieces:
        entry = known.get(piece.target)
        if entry is not None and entry.still_holds(folder, piece.source.path):
            kept[piece.target] = entry
    _remove(folder, known.keys() - kept.keys() - mirror.lists.keys() - {TABLE_NAME}, kept=kept.values())
    return kept


def _remove(folder: Path, paths: Iterable[str], *, kept: Iterable[Entry] = ()) -> None:
    """Remove files, then their lines in the manifest."""
    for path in paths:
        (folder / path).unlink(missing_ok=True)
        _remove_empty((folder / path).parent, within=folder)
    write_manifest(folder, kept)
    _remove_partial_files(folder)


def _remove_empty(place: Path, *, within: Path) -> None:
    """Remove a folder and those above it while they are empty."""
    while place != within and place.is_dir() and not any(place.iterdir()):
        place.rmdir()
        place = place.parent


def _made(folder: Path, tasks: Sequence[Task], *, num_workers: int) -> list[Entry]:
    entries = []
    try:
        with closing(process_map(prepare_piece, _begun(folder, tasks), num_workers=num_workers)) as results:
            for entry in counted(results, "preparing", total=len(tasks)):
                note_done(folder, entry)
                entries.append(entry)
    finally:
        _remove_partial_files(folder)
    return entries


def _begun(folder: Path, tasks: Iterable[Task]) -> Iterator[Task]:
    for task in tasks:
        note_begun(folder, task.piece.target)
        yield task


def _remove_partial_files(folder: Path) -> None:
    """Remove the partial files of killed processes."""
    for path in folder.rglob(".*.partial*"):
        path.unlink(missing_ok=True)


def _copy_lists(folder: Path, mirror: Mirror) -> None:
    for place, path in mirror.lists.items():
        note_begun(folder, place)
        (folder / place).parent.mkdir(parents=True, exist_ok=True)
        with complete(folder / place) as unfinished:
            shutil.copyfile(path, unfinished)
    _write_table(folder, mirror, uncut=())


def _write_table(folder: Path, mirror: Mirror, *, uncut: Collection[str]) -> None:
    if mirror.rows:
        note_begun(folder, TABLE_NAME)
        write_csv(folder / TABLE_NAME, mirror.table(uncut=uncut))


def _write_failures(folder: Path, failed: Sequence[Entry]) -> None:
    (folder / FAILED).unlink(missing_ok=True)
    if failed:
        rows = [{"path": row.path, "decodable": "yes" if row.decodable else "no", "error": row.error} for row in failed]
        write_csv(folder / FAILED, rows)


def _totals(entries: Sequence[Entry]) -> dict[str, int]:
    sources = {entry.source: entry.source_bytes for entry in entries}  # one may have become several clips
    return {
        "videos": len(entries),
        "undecodable": sum(not entry.decodable for entry in entries),
        "unprepared": sum(entry.decodable and bool(entry.error) for entry in entries),
        "frames": sum(entry.num_frames for entry in entries),
        "bytes_before": sum(sources.values()),
        "bytes_after": sum(entry.num_bytes for entry in entries),
    }


def _write_description(folder: Path, description: dict[str, Any]) -> None:
    write_text(folder / DESCRIPTION, json.dumps(description, indent=2) + "\n")


@dataclass(frozen=True, kw_only=True)
class _Made:
    """An encoded file, or the reason for its absence."""

    num_frames: int = 0
    crf: int | None = None
    error: str = ""
    decodable: bool = True


def _prepared(task: Task, target: Path) -> _Made:
    """Encode with increasing quality, finally losslessly, until the file is faithful."""
    from t3d.data.clips import frames_of  # wrong paths and folders are refused before PyTorch is imported
    from t3d.video.pyav_reader import PyAVVideo
    from t3d.video.reencode import NotFaithfulError, prepare_video

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
