"""The loops that users write to read a clip: open the file, decode the frames wanted, one thread.

Each takes a path and ascending frame numbers, and gives (T, H, W, 3) uint8 in red, green, blue. They trust that the
rate of the file is constant, and that seeking is exact. Each imports its library itself, since it may not be installed.
"""

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import torch

from t3d.tensors import Frames

ReadFrames = Callable[[Path, Sequence[int]], Frames]


def read_pyav(path: Path, indices: Sequence[int]) -> Frames:
    """Seek to the keyframe before, then count by the times."""
    import av

    wanted, frames = set(indices), []
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        stream.thread_count = 1
        ticks, start = 1 / float((stream.average_rate or 25) * (stream.time_base or 1)), stream.start_time or 0
        container.seek(start + round(indices[0] * ticks), stream=stream)
        for frame in container.decode(stream):
            index = round(((frame.pts or 0) - start) / ticks)
            if index in wanted:
                frames.append(frame.to_ndarray(format="rgb24", threads=1))
            if index >= indices[-1]:
                break
    return torch.from_numpy(np.stack(frames))


def read_opencv(path: Path, indices: Sequence[int]) -> Frames:
    """Set the position, then grab every frame and retrieve those wanted."""
    import cv2

    cv2.setNumThreads(1)
    capture = cv2.VideoCapture(str(path), cv2.CAP_FFMPEG, [cv2.CAP_PROP_N_THREADS, 1])
    capture.set(cv2.CAP_PROP_POS_FRAMES, indices[0])
    wanted, frames = set(indices), []
    for index in range(indices[0], indices[-1] + 1):
        capture.grab()
        if index in wanted:
            frames.append(cv2.cvtColor(capture.retrieve()[1], cv2.COLOR_BGR2RGB))
    capture.release()
    return torch.from_numpy(np.stack(frames))


def read_decord(path: Path, indices: Sequence[int]) -> Frames:
    """Ask for a batch."""
    import decord

    return torch.from_numpy(decord.VideoReader(str(path), num_threads=1).get_batch(list(indices)).asnumpy())


def read_torchcodec(path: Path, indices: Sequence[int]) -> Frames:
    """Ask for frames by their numbers."""
    from torchcodec.decoders import VideoDecoder

    decoder = VideoDecoder(path, dimension_order="NHWC", num_ffmpeg_threads=1, seek_mode="approximate")
    return decoder.get_frames_at(list(indices)).data


PLAIN_LOOPS: dict[str, ReadFrames] = {
    "PyAV": read_pyav,
    "OpenCV": read_opencv,
    "decord": read_decord,
    "torchcodec": read_torchcodec,
}
"""By the name of the library."""
