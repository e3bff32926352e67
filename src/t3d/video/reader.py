"""The seam between videos and everything above: exact random access to frames, whatever stores them."""

from bisect import bisect_left
from collections.abc import Sequence
from types import TracebackType
from typing import Protocol, TypeVar, runtime_checkable

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from t3d.errors import DecodeError
from t3d.tensors import Frames

FRAMES_AT_ONCE = 16
"""Of a pass over a video: decoded pictures may be far larger than what is kept of them."""
_CLOCK_ERROR_SECONDS = 0.001  # several containers round times to the millisecond

Reader = TypeVar("Reader")  # not `Self`, which run-time type checks cannot resolve in a method


@runtime_checkable
class VideoReader(Protocol):
    """The frames of one video; frame i is the i-th picture that decoding everything would give."""

    name: str
    """What messages call the video: its path."""
    fps: float
    """Average rate, in frames a second."""

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

        A frame up to a millisecond early counts as on time. A bound left out is the video's own.
        """
        ...

    def close(self) -> None:
        """Let go of the file; the reader is of no use afterwards."""
        ...

    def __enter__(self: Reader) -> Reader:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def frames_between(
    times_seconds: Sequence[float], start_seconds: float | None, end_seconds: float | None
) -> tuple[int, int]:
    """Answer `VideoReader.frame_range` from the ascending times of all frames."""
    first = 0 if start_seconds is None else bisect_left(times_seconds, start_seconds - _CLOCK_ERROR_SECONDS)
    if end_seconds is None:
        return first, len(times_seconds)
    return first, max(bisect_left(times_seconds, end_seconds - _CLOCK_ERROR_SECONDS), first)


def checked_indices(indices: Sequence[int] | Tensor, name: str, *, video_length: int | None = None) -> list[int]:
    """Plain integers, at least one, each the number of a frame; without a length, the reader finds the last itself.

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
    """Say that a video is shorter than the caller thought; the caller raises."""
    return DecodeError(f"{name}: frame {index} does not exist, it has {video_length} frames; ask for fewer")


def size_changes(name: str) -> DecodeError:
    """Say that pictures of one clip cannot be put side by side; the caller raises."""
    return DecodeError(f"{name}: the size of the picture changes in mid-video; re-encode it")


class ArrayVideo(VideoReader):
    """A video given as an array or tensor of RGB pictures, uint8, (T, H, W, 3)."""

    def __init__(self, array: NDArray[np.uint8] | Tensor, *, name: str = "array", fps: float = 25.0) -> None:
        # A tensor needs memory that is writable and runs forwards; an array that turns BGR into RGB does not.
        pictures = array if isinstance(array, Tensor) else torch.from_numpy(np.require(array, requirements=["C", "W"]))
        if pictures.dtype != torch.uint8 or pictures.ndim != 4 or pictures.shape[-1] != 3 or not pictures.numel():
            raise DecodeError(
                f"{name}: frames of shape {tuple(pictures.shape)} and type {pictures.dtype} are no video; "
                "give uint8 RGB pictures of shape (T, H, W, 3)"
            )
        self.name = name
        self.fps = fps
        self._pictures = pictures

    def __len__(self) -> int:
        return len(self._pictures)

    def frames(self, indices: Sequence[int] | Tensor) -> Frames:
        """Copy these frames."""
        return self._pictures[torch.tensor(checked_indices(indices, self.name, video_length=len(self)))]

    def frame_range(self, start_seconds: float | None, end_seconds: float | None) -> tuple[int, int]:
        """Turn seconds into frames at the constant rate."""
        return frames_between([index / self.fps for index in range(len(self))], start_seconds, end_seconds)

    def close(self) -> None:
        """Do nothing: there is no file."""
