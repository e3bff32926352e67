"""The interface of video readers: exact random access to frames; and reading clips in one pass."""

from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterator, Sequence
from types import TracebackType
from typing import Protocol, TypeVar, runtime_checkable

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from t3d.errors import DecodeError
from t3d.tensors import FrameIndices, Frames

FRAMES_AT_ONCE = 16
"""Frames decoded per call in one pass: decoded frames may be far larger than what is kept of them."""
_CLOCK_ERROR_SECONDS = 0.001  # some containers round times to milliseconds

Reader = TypeVar("Reader")  # not `Self`, which run-time type checkers cannot resolve in a method


@runtime_checkable
class VideoReader(Protocol):
    """The frames of one video; frame i is the i-th frame of decoding the whole file."""

    name: str
    """Name of the video in messages: its path."""
    fps: float
    """Average frame rate, in frames per second."""

    def __len__(self) -> int:
        """Exact number of frames."""
        ...

    def frames(self, indices: Sequence[int] | Tensor) -> Frames:
        """Decode these frames, in any order; an index may repeat and is decoded once.

        Raises:
            DecodeError: A frame does not exist or cannot be decoded.
        """
        ...

    def frame_range(self, start_seconds: float | None, end_seconds: float | None) -> tuple[int, int]:
        """First frame shown at or after the start, and first at or after the end, counted from the first frame.

        A frame up to a millisecond early counts as on time. None means the start or end of the video.
        """
        ...

    def close(self) -> None:
        """Close the file; the reader cannot be used afterwards."""
        ...

    def __enter__(self: Reader) -> Reader:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


class ArrayVideo(VideoReader):
    """A video given as an array or tensor of RGB frames, uint8, (T, H, W, 3)."""

    def __init__(self, array: NDArray[np.uint8] | Tensor, *, name: str = "array", fps: float = 25.0) -> None:
        # A tensor needs writable memory without negative strides, which an array reversed from BGR to RGB has.
        tensor = array if isinstance(array, Tensor) else torch.from_numpy(np.require(array, requirements=["C", "W"]))
        if tensor.dtype != torch.uint8 or tensor.ndim != 4 or tensor.shape[-1] != 3 or not tensor.numel():
            raise DecodeError(
                f"{name}: frames of shape {tuple(tensor.shape)} and type {tensor.dtype} are no video; "
                "give uint8 RGB pictures of shape (T, H, W, 3)"
            )
        self.name = name
        self.fps = fps
        self._tensor = tensor

    def __len__(self) -> int:
        return len(self._tensor)

    def frames(self, indices: Sequence[int] | Tensor) -> Frames:
        """Copy these frames."""
        return self._tensor[torch.tensor(checked_indices(indices, self.name, video_length=len(self)))]

    def frame_range(self, start_seconds: float | None, end_seconds: float | None) -> tuple[int, int]:
        """Convert seconds to frames at the constant rate."""
        return frames_between([index / self.fps for index in range(len(self))], start_seconds, end_seconds)

    def close(self) -> None:
        """Do nothing: there is no file."""


def iter_clips(
    video: VideoReader, clips: FrameIndices, prepare: Callable[[Frames], Sequence[Tensor]] = torch.unbind
) -> Iterator[list[Tensor]]:
    """Yield the prepared frames of each clip in one pass: each frame is decoded once, in ascending order.

    A clip is yielded as soon as its last frame is decoded. A prepared frame is kept until no later clip needs it: for
    clips in the order of their starts at most the span of one clip, whatever the length of the video.

    Args:
        video: Read in ascending order.
        clips: Frames of N clips, (N, T); they may repeat, in any order within a clip.
        prepare: Maps decoded frames (T, H, W, C) to one tensor per frame, independent of each other.

    Raises:
        DecodeError: A frame cannot be decoded, or the frame size changes within a clip.
    """
    wanted = clips.unique().tolist()  # ascending
    needed_from = clips.amin(dim=1).flip(0).cummin(dim=0).values.flip(0)  # (N,): the first frame of any clip from here
    held: dict[int, tuple[torch.Size, Tensor]] = {}
    begun = 0
    for row, first in zip(clips, needed_from.tolist(), strict=True):
        clip = row.tolist()
        held = {index: kept for index, kept in held.items() if index >= first}
        end = bisect_right(wanted, max(clip), lo=begun)
        for start in range(begun, end, FRAMES_AT_ONCE):
            indices = wanted[start : min(start + FRAMES_AT_ONCE, end)]
            frames = video.frames(indices)
            size = frames.shape[1:3]
            held.update((index, (size, made)) for index, made in zip(indices, prepare(frames), strict=True))
        begun = end
        yield _of_one_size([held[index] for index in clip], video.name)


def frames_between(
    times_seconds: Sequence[float], start_seconds: float | None, end_seconds: float | None
) -> tuple[int, int]:
    """Compute `VideoReader.frame_range` from the ascending times of all frames."""
    first = 0 if start_seconds is None else bisect_left(times_seconds, start_seconds - _CLOCK_ERROR_SECONDS)
    if end_seconds is None:
        return first, len(times_seconds)
    return first, max(bisect_left(times_seconds, end_seconds - _CLOCK_ERROR_SECONDS), first)


def checked_indices(indices: Sequence[int] | Tensor, name: str, *, video_length: int | None = None) -> list[int]:
    """Indices as integers, checked against the length, if it is given.

    Raises:
        DecodeError: There are no indices, or one is negative or past the last frame.
    """
    plain = [int(index) for index in indices]
    if not plain or min(plain) < 0:
        raise DecodeError(f"{name}: frames {plain} were asked for; count from 0 and ask for at least one")
    if video_length is not None and max(plain) >= video_length:
        raise no_such_frame(name, max(plain), video_length)
    return plain


def no_such_frame(name: str, index: int, video_length: int) -> DecodeError:
    """The error for a frame past the end of a video."""
    return DecodeError(f"{name}: frame {index} does not exist, it has {video_length} frames; ask for fewer")


def size_changes(name: str) -> DecodeError:
    """The error for a clip whose frames differ in size."""
    return DecodeError(f"{name}: the size of the picture changes in mid-video; re-encode it")


def _of_one_size(kept: Sequence[tuple[torch.Size, Tensor]], name: str) -> list[Tensor]:
    if len({size for size, _ in kept}) > 1:
        raise size_changes(name)
    return [made for _, made in kept]
