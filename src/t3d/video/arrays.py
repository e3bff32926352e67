"""Frames already in memory, read as any other video."""

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from t3d.errors import DecodeError
from t3d.tensors import Frames
from t3d.video.reader import VideoReader, checked_indices, frames_between


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
