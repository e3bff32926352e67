"""Decode with torchcodec where it is exact; everything else about the file is read with PyAV.

Frames and their times come from the packet index of `pyav_reader`, so both backends agree. Files without reliable times
(AVI, MPEG-4 part 2) cannot be sought exactly and are decoded by PyAV.
"""

from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor
from torchcodec.decoders import VideoDecoder

from t3d.errors import DecodeError
from t3d.tensors import Frames
from t3d.video.pyav_reader import PyAVVideo
from t3d.video.reader import VideoReader, checked_indices


class TorchCodecVideo(VideoReader):
    """A video file, decoded by torchcodec.

    Args:
        path: The file.
        num_threads: Maximum number of decoder threads.

    Raises:
        DecodeError: The file is missing or has no video stream.
    """

    def __init__(self, path: Path, *, num_threads: int = 1) -> None:
        self.name = str(path)
        self._packets = PyAVVideo(path, num_threads=num_threads)
        self.fps = self._packets.fps
        try:
            self._decoder = _decoder(path, num_threads) if self._packets.is_seekable else None
        except BaseException:
            self._packets.close()
            raise

    def __len__(self) -> int:
        return len(self._packets)

    def frames(self, indices: Sequence[int] | Tensor) -> Frames:
        """Decode these frames."""
        if self._decoder is None:
            return self._packets.frames(indices)
        wanted = checked_indices(indices, self.name, video_length=len(self))
        needed = sorted(set(wanted))
        try:
            pictures = self._decoder.get_frames_at(needed).data  # (T, H, W, C)
        except (RuntimeError, IndexError) as error:
            raise DecodeError(
                f"{self.name}: frames {needed[0]} to {needed[-1]} cannot be decoded (truncated or damaged file); "
                "re-encode or remove it"
            ) from error
        return pictures[torch.tensor([needed.index(index) for index in wanted])]

    def frame_range(self, start_seconds: float | None, end_seconds: float | None) -> tuple[int, int]:
        """Convert seconds to frames by their presentation times."""
        return self._packets.frame_range(start_seconds, end_seconds)

    def close(self) -> None:
        """Close the file."""
        self._decoder = None
        self._packets.close()


def _decoder(path: Path, num_threads: int) -> VideoDecoder:
    try:
        return VideoDecoder(path, dimension_order="NHWC", num_ffmpeg_threads=num_threads, seek_mode="exact")
    except (RuntimeError, ValueError) as error:
        reason = str(error).splitlines()[0]
        raise DecodeError(f"{path}: torchcodec cannot open it ({reason}); use the backend 'pyav'") from error
