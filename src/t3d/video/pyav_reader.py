"""Exact frames of a video file through PyAV: seek where that is safe, count from the start where it is not.

A file is indexed by its packets. Every decoded frame is compared with the index; if they disagree, the index is dropped
and frames are counted from the start, which is exact by definition.
"""

import math
from array import array
from collections.abc import Iterator, Sequence
from contextlib import suppress
from itertools import chain, pairwise
from pathlib import Path

import av
import numpy as np
import torch
from av.packet import Packet
from av.video.reformatter import VideoReformatter
from cachetools import LRUCache
from numpy.typing import NDArray
from torch import Tensor

from t3d.errors import DecodeError
from t3d.tensors import Frames
from t3d.video.container import apply_display_matrix, open_container, plausible_fps
from t3d.video.packets import Entry, PacketIndex, damaged, read_packet_index
from t3d.video.reader import VideoReader, checked_indices, frames_between, no_such_frame, size_changes

_CACHE_BYTES = 2**27
_KEY_BYTES = 500
"""Approximate memory of a key."""

FileKey = tuple[Path, int, int]
"""A file, its size and its date of modification."""


def _index_bytes(index: PacketIndex | None) -> int:
    return _KEY_BYTES + (0 if index is None else index.num_bytes)


def _timestamp_bytes(timestamps: "array[int]") -> int:
    return _KEY_BYTES + timestamps.itemsize * len(timestamps)


# Training opens a file in every epoch, and reading all its packets may take longer than decoding a clip.
_INDEXES: LRUCache[FileKey, PacketIndex | None] = LRUCache(_CACHE_BYTES, getsizeof=_index_bytes)
_TIMESTAMPS: "LRUCache[FileKey, array[int]]" = LRUCache(_CACHE_BYTES, getsizeof=_timestamp_bytes)


class _IndexMismatchError(Exception):
    """Decoded frames disagree with the index."""


class PyAVVideo(VideoReader):
    """A video file, decoded by FFmpeg inside PyAV; opening it reads all its packets, or their table.

    Args:
        path: The file.
        num_threads: Maximum number of threads for decoding and for the conversion to RGB.

    Raises:
        DecodeError: The file is missing, truncated, or has no video stream.
    """

    def __init__(self, path: Path, *, num_threads: int = 1) -> None:
        self.name = str(path)
        self._path = path
        self._num_threads = num_threads
        self._container, self._stream = open_container(path, num_threads=num_threads)
        self._seconds_per_tick = float(self._stream.time_base or 0)
        self._reformatter = VideoReformatter()
        self._times_seconds: list[float] | None = None
        self._decoded: Iterator[tuple[int, av.VideoFrame]] = iter(())
        self._next = 0
        try:
            self._find_index()
            self.fps = self._average_fps()
        except BaseException:
            self.close()
            raise

    def __len__(self) -> int:
        return len(self.times_seconds())

    @property
    def is_seekable(self) -> bool:
        """Whether the index determines the frames, so that seeking is exact."""
        return self._index is not None

    def frames(self, indices: Sequence[int] | Tensor) -> Frames:
        """Decode these frames; continuing in ascending order after the last call needs no seek."""
        wanted = checked_indices(indices, self.name)
        pictures = {index: self._picture(index) for index in sorted(set(wanted))}
        if len({picture.shape for picture in pictures.values()}) > 1:
            raise size_changes(self.name)
        return torch.from_numpy(np.stack([pictures[index] for index in wanted]))

    def frame_range(self, start_seconds: float | None, end_seconds: float | None) -> tuple[int, int]:
        """Convert seconds to frames by their presentation times."""
        return frames_between(self.times_seconds(), start_seconds, end_seconds)

    def times_seconds(self) -> list[float]:
        """Presentation time of each frame, relative to the first."""
        if self._times_seconds is None:
            self._times_seconds = self._count_frames() if self._index is None else self._seconds(self._index.timestamps)
        return self._times_seconds

    def close(self) -> None:
        """Close the file."""
        self._decoded = iter(())
        self._container.close()

    def _seconds(self, timestamps: Sequence[int]) -> list[float]:
        return [(timestamp - timestamps[0]) * self._seconds_per_tick for timestamp in timestamps]

    def _count_frames(self) -> list[float]:
        """Times of all decodable frames; if the file's times do not ascend, a constant rate is assumed."""
        key = _file_key(self._path)
        timestamps = _TIMESTAMPS.get(key)
        if timestamps is None:
            timestamps = _decode_timestamps(self._path, num_threads=self._num_threads)
            with suppress(ValueError):  # larger than the whole cache
                _TIMESTAMPS[key] = timestamps
        if not timestamps:
            raise self._missing(0, 0)
        if all(before < after for before, after in pairwise(timestamps)):
            return self._seconds(timestamps)
        return [index / self.fps for index in range(len(timestamps))]

    def _average_fps(self) -> float:
        """Average frame rate from the times of the frames, or the stated rate, which ignores pauses."""
        stated = plausible_fps(self._stream.average_rate, self._stream.guessed_rate)
        if self._index is None or len(self._index.timestamps) < 2:
            return stated
        duration_seconds = self._seconds(self._index.timestamps)[-1]
        measured = (len(self._index.timestamps) - 1) / duration_seconds
        return stated if math.isclose(measured, stated, rel_tol=0.01) else measured

    def _find_index(self) -> None:
        """Read the packet index, from the cache if this process has read it before, and check it."""
        key = _file_key(self._path)
        if key in _INDEXES:
            self._index = _INDEXES[key]
            self._restart(0)
            return
        self._index = read_packet_index(self._container, self._stream, self.name)
        self._start()
        with suppress(ValueError):  # larger than the whole cache
            _INDEXES[key] = self._index

    def _start(self) -> None:
        """Decode the first frame and compare it with the index."""
        self._restart(0)
        if self._index is not None:
            try:
                self._decoded = chain([next(self._decoded)], self._decoded)
            except (_IndexMismatchError, av.error.FFmpegError):
                self._index = None
                self._restart(0)

    def _picture(self, index: int) -> NDArray[np.uint8]:
        frame = self._frame(index)
        converted = self._reformatter.reformat(frame, format="rgb24", threads=self._num_threads)
        return apply_display_matrix(np.asarray(converted.to_ndarray(), dtype=np.uint8), frame)

    def _frame(self, index: int) -> av.VideoFrame:
        try:
            return self._decode_up_to(index)
        except _IndexMismatchError:
            self._drop_index()
            return self._decode_up_to(index)

    def _decode_up_to(self, index: int) -> av.VideoFrame:
        entry = 0 if self._index is None else self._index.entry_before(index).first_frame
        if index < self._next or entry > self._next:
            self._restart(index)
        try:
            for number, frame in self._decoded:
                self._next = number + 1
                if number == index:
                    return frame
        except av.error.FFmpegError as error:
            reached, promised = self._next, None if self._index is None else len(self._index.timestamps)
            self._restart(0)
            raise damaged(self.name, reached, promised) from error
        raise self._missing(index, self._next)

    def _restart(self, index: int) -> None:
        """Continue decoding from the last entry before this frame, or from the start of the file."""
        if self._index is not None:
            entry = self._index.entry_before(index)
            self._next, self._decoded = entry.first_frame, self._from_entry(entry, self._index.timestamps)
            return
        self.close()
        self._container, self._stream = open_container(self._path, num_threads=self._num_threads)
        self._next, self._decoded = 0, enumerate(_decode(self._container.demux(self._stream)))

    def _from_entry(self, entry: Entry, timestamps: Sequence[int]) -> Iterator[tuple[int, av.VideoFrame]]:
        expected = entry.first_frame
        for frame in _decode(self._seek(entry)):
            if expected == entry.first_frame and frame.pts is not None and frame.pts < timestamps[expected]:
                continue  # displayed before the entry, and not decodable from it
            if expected >= len(timestamps) or frame.pts != timestamps[expected]:
                raise _IndexMismatchError
            yield expected, frame
            expected += 1
        if expected < len(timestamps):
            raise _IndexMismatchError

    def _seek(self, entry: Entry) -> Iterator[Packet]:
        """Packets from the entry on, or from a keyframe before it; containers seek by different clocks."""
        for target in (entry.pts, entry.dts):
            if target is None:
                continue
            try:
                self._container.seek(target, stream=self._stream)
                packets = self._container.demux(self._stream)
                first = next(packets)
            except av.error.FFmpegError:
                continue
            if first.is_keyframe and first.pts is not None and first.pts <= entry.pts:
                return chain([first], packets)
        raise _IndexMismatchError

    def _drop_index(self) -> None:
        """Count frames from now on; if a reported length turns out wrong, the file is damaged."""
        assert self._index is not None
        promised = len(self._index.timestamps)
        self._restart(0)  # an iterator that raised is exhausted
        times_seconds = self._count_frames()
        if len(times_seconds) != promised:
            raise damaged(self.name, min(len(times_seconds), promised), promised)
        self._index, self._times_seconds = None, times_seconds
        self._restart(0)

    def _missing(self, index: int, length: int) -> DecodeError:
        if length == 0:
            return DecodeError(f"{self.name}: not a single frame can be decoded; re-encode or remove it")
        return no_such_frame(self.name, index, length)


def forget_files() -> None:
    """Empty the caches, so that files are indexed again."""
    _INDEXES.clear()
    _TIMESTAMPS.clear()


def _file_key(path: Path) -> FileKey:
    status = path.stat()
    return path, status.st_size, status.st_mtime_ns


def _decode_timestamps(path: Path, *, num_threads: int) -> "array[int]":
    """Time stamps of all frames by decoding the whole file, -1 for a missing one."""
    timestamps = array("q")
    container, stream = open_container(path, num_threads=num_threads)
    try:
        timestamps.extend(-1 if frame.pts is None else frame.pts for frame in _decode(container.demux(stream)))
    except av.error.FFmpegError as error:
        raise damaged(str(path), len(timestamps), None) from error
    finally:
        container.close()
    return timestamps


def _decode(packets: Iterator[Packet]) -> Iterator[av.VideoFrame]:
    """Frames in display order; packets that a decoder refuses before its first frame are skipped."""
    started = False
    for packet in packets:
        if packet.size == 0 and packet.dts is not None:
            continue  # an empty packet would signal the end of the stream
        try:
            frames = packet.decode()
        except av.error.FFmpegError:
            if started:
                raise
            continue
        started = started or bool(frames)
        yield from frames
