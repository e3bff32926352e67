"""Cache of teacher features of fixed windows: one SQLite file per teacher and kind of window."""

import hashlib
import json
import sqlite3
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, TypeVar

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader

from t3d.data.clips import OpenVideo
from t3d.data.samples import Sample
from t3d.errors import CheckpointError, DecodeError
from t3d.system import ignore_interrupts
from t3d.tensors import Features
from t3d.transfer.teachers import FrozenTeacher
from t3d.transfer.windows import Window, WindowPictures
from t3d.video.decode import open_video
from t3d.video.spec import ClipSpec
from t3d.workers import iterate

SCHEMA_VERSION = 1
_APPLICATION_ID = 0x54334443  # marks a SQLite file as ours
_LOCK_SECONDS = 60.0
_TABLES = """
    CREATE TABLE meta (name TEXT PRIMARY KEY, value TEXT NOT NULL);
    CREATE TABLE videos (
        identity TEXT PRIMARY KEY, starts TEXT NOT NULL, features BLOB NOT NULL, crc32 INTEGER NOT NULL
    );
"""

Progress = Callable[[int, int], None]
"""Called with the number of videos done and in all."""

Cache = TypeVar("Cache", bound="TeacherCache")


@dataclass(frozen=True, kw_only=True)
class CachedVideo:
    """Teacher features of one video, or of one clip of a list."""

    starts: tuple[int, ...]
    """First frame of each window, counted from the start of the file."""
    features: Features
    """(windows, D), float32: the mean over the images of each window."""


def cache_facts(teacher: FrozenTeacher, *, clip: ClipSpec, num_pictures: int, most: int) -> dict[str, Any]:
    """Everything the features depend on besides the video, as JSON values.

    Args:
        teacher: The teacher.
        clip: Frames of a window.
        num_pictures: Number of evenly spaced frames of a window that the teacher sees.
        most: Maximum number of windows of a video.
    """
    return {
        "schema_version": SCHEMA_VERSION,
        "teacher": teacher.name,
        "fingerprint": teacher.fingerprint,
        "num_features": teacher.num_features,
        "pixels": json.loads(json.dumps(asdict(teacher.pixels))),
        "clip": {"num_frames": clip.num_frames, "frame_stride": clip.frame_stride, "short": clip.short},
        "num_pictures": min(num_pictures, clip.num_frames),
        "most": most,
    }


def cache_name(facts: Mapping[str, Any]) -> str:
    """Hash of the facts, 16 hexadecimal digits."""
    return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()[:16]


def identity_of(sample: Sample) -> str:
    """Identity of a video and its state, as JSON: resolved path, size, modification time, start and end.

    Raises:
        DecodeError: There is no such file.
    """
    try:
        status = sample.path.stat()
    except OSError as error:
        raise DecodeError(f"{sample.path}: cannot be read ({error.strerror}); correct the list") from None
    path = str(sample.path.resolve())
    return json.dumps([path, status.st_size, status.st_mtime_ns, sample.start_seconds, sample.end_seconds])


class TeacherCache:
    """One file of features. A video is written completely or not at all, so the process may be killed at any time.

    SQLite with a rollback journal, which also works on network file systems. Use it only in the process that opened it.

    Args:
        path: The file; created if it does not exist, with its folder.
        facts: From `cache_facts`.

    Attributes:
        damaged: Number of damaged rows that were removed.

    Raises:
        CheckpointError: The file is not a cache, belongs to other facts, or cannot be opened.
    """

    def __init__(self, path: Path, facts: Mapping[str, Any]) -> None:
        self.path = path
        self.facts = facts
        self.damaged = 0
        with self._errors():
            path.parent.mkdir(parents=True, exist_ok=True)
            self._connection = sqlite3.connect(path, timeout=_LOCK_SECONDS, isolation_level=None)
            self._connection.text_factory = _lenient
        try:
            with self._errors():
                self._create_or_check()
        except CheckpointError:
            self.close()
            raise

    def __enter__(self: Cache) -> Cache:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the file; the cache cannot be used afterwards."""
        self._connection.close()

    def get(self, identity: str) -> CachedVideo | None:
        """The features of a video, or None if they must be computed; a damaged row is removed and counted.

        Raises:
            CheckpointError: The file cannot be read.
        """
        query = "SELECT starts, features, crc32 FROM videos WHERE identity = ?"
        with self._errors():
            row = self._connection.execute(query, (identity,)).fetchone()
            if row is None:
                return None
            video = self._verified(identity, *row)
            if video is None:
                self.damaged += 1
                self._connection.execute("DELETE FROM videos WHERE identity = ?", (identity,))
            return video

    def add(self, identity: str, starts: Sequence[int], features: Features) -> None:
        """Store the features (windows, D) of a video; they are on disk when this returns.

        Raises:
            CheckpointError: The file cannot be written.
        """
        assert features.shape == (len(starts), self.facts["num_features"])
        text, blob = json.dumps(list(starts)), features.float().cpu().numpy().astype("<f4").tobytes()
        row = (identity, text, blob, _checksum(identity, text, blob))
        with self._errors():
            self._connection.execute("INSERT OR REPLACE INTO videos VALUES (?, ?, ?, ?)", row)

    def _verified(self, identity: str, starts: object, features: object, checksum: object) -> CachedVideo | None:
        if not isinstance(starts, str) or not isinstance(features, bytes):
            return None
        if _checksum(identity, starts, features) != checksum:
            return None
        numbers = tuple(json.loads(starts))
        if len(features) != 4 * len(numbers) * self.facts["num_features"]:
            return None
        values = np.frombuffer(features, dtype="<f4").astype(np.float32).reshape(len(numbers), -1)
        return CachedVideo(starts=numbers, features=torch.from_numpy(values))

    def _create_or_check(self) -> None:
        facts = json.dumps(self.facts, sort_keys=True)
        with self._connection as connection:
            connection.execute("BEGIN IMMEDIATE")
            if not connection.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]:
                for statement in _TABLES.split(";")[:-1]:
                    connection.execute(statement)
                connection.execute("INSERT INTO meta VALUES ('facts', ?)", (facts,))
                connection.execute(f"PRAGMA application_id = {_APPLICATION_ID}")
            if connection.execute("PRAGMA application_id").fetchone()[0] != _APPLICATION_ID:
                raise CheckpointError(f"{self.path}: a database, but no teacher cache; give another folder")
            if connection.execute("SELECT value FROM meta WHERE name = 'facts'").fetchone()[0] != facts:
                raise CheckpointError(f"{self.path}: made by another teacher or for other windows; delete it")

    @contextmanager
    def _errors(self) -> Iterator[None]:
        try:
            yield
        except (sqlite3.Error, OSError) as error:
            reason = " ".join(str(error).split())
            raise CheckpointError(
                f"{self.path}: cannot be used as teacher cache ({reason}); delete it, or make room and rights for it"
            ) from error


def fill_cache(
    cache: TeacherCache,
    teacher: FrozenTeacher,
    samples: Sequence[Sample],
    *,
    num_workers: int,
    device: torch.device | str = "cpu",
    source: OpenVideo = open_video,
    progress: Progress | None = None,
) -> list[str]:
    """Compute missing features; may be stopped at any time and called again.

    The teacher sees one window at a time, so that results do not depend on what was cached before. Only this process
    writes; workers decode.

    Args:
        cache: Its facts define windows and images.
        teacher: The teacher of the cache.
        samples: Videos; those in the cache are skipped.
        num_workers: Processes that decode; 0 decodes in this process.
        device: Device of the teacher.
        source: Opens a path.
        progress: Called after every video.

    Returns:
        One line for each undecodable video; nothing of it is stored, so that it is tried again next time.

    Raises:
        CheckpointError: The cache cannot be written.
        ConfigError: The teacher returns values that are not finite.
    """
    assert cache.facts["fingerprint"] == teacher.fingerprint
    missing, errors = _missing(cache, samples)
    identities = list(missing)
    windows = _decode(cache.facts, teacher, list(missing.values()), num_workers=num_workers, source=source)
    for number, (index, seen) in enumerate(_whole_videos(iterate(windows), teacher, device), start=1):
        if isinstance(seen, str):
            errors.append(seen)
        else:
            cache.add(identities[index], seen.starts, seen.features)
        if progress is not None:
            progress(number, len(missing))
    return errors


def _missing(cache: TeacherCache, samples: Sequence[Sample]) -> tuple[dict[str, Sample], list[str]]:
    """Videos not in the cache, by identity; and a line for each missing file."""
    missing: dict[str, Sample] = {}
    errors = []
    for sample in samples:
        try:
            identity = identity_of(sample)
        except DecodeError as error:
            errors.append(str(error))
            continue
        if cache.get(identity) is None:
            missing[identity] = sample
    return missing, errors


def _decode(
    facts: Mapping[str, Any], teacher: FrozenTeacher, samples: Sequence[Sample], *, num_workers: int, source: OpenVideo
) -> "DataLoader[Window]":
    windows = WindowPictures(
        samples,
        clip=ClipSpec(**facts["clip"]),
        pixels=teacher.pixels,
        num_pictures=facts["num_pictures"],
        most=facts["most"],
        open_video=source,
    )
    num_workers = min(num_workers, len(samples) // 2)
    return DataLoader(windows, batch_size=None, num_workers=num_workers, worker_init_fn=ignore_interrupts)


def _whole_videos(
    windows: Iterable[Window], teacher: FrozenTeacher, device: torch.device | str
) -> Iterator[tuple[int, CachedVideo | str]]:
    """Position in the list and features of each completed video; or the error."""
    collected: dict[int, list[tuple[int, Tensor]]] = {}
    for window in windows:
        if window.pictures is None:
            collected.pop(window.index, None)
            yield window.index, window.error
            continue
        seen = collected.setdefault(window.index, [])
        seen.append((window.start, teacher.describe(window.pictures.to(device)).cpu()))
        if len(seen) == window.num_windows:
            del collected[window.index]
            starts, features = zip(*seen, strict=True)
            yield window.index, CachedVideo(starts=starts, features=torch.stack(features))


def _checksum(identity: str, starts: str, features: bytes) -> int:
    return zlib.crc32(features, zlib.crc32(f"{identity} {starts}".encode()))


def _lenient(text: bytes) -> str:
    """Decode damaged text without an error; the checksum detects it."""
    return text.decode(errors="replace")
