"""Write frames to an H.264 file that browsers play."""

from collections.abc import Iterable, Mapping, Sequence
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
from av.container import OutputContainer
from torch import Tensor

from t3d.errors import T3DError
from t3d.files import complete

_REPEATABLE = "threads=1:lookahead-threads=1:aq-mode=0:mbtree=0"
"""With threads, adaptive quantisation or mbtree, equal frames do not always give equal bytes."""
_CLOCK = Fraction(1, 90000)
"""Time base of written files, in seconds."""


def write_video(path: Path, frames: Iterable[Tensor], *, fps: float = 25.0, crf: int = 18) -> None:
    """Encode RGB frames as H.264 (yuv420p) in the container the suffix names.

    The file appears under its name only when complete. An odd last row or column is dropped, because of yuv420p.

    Args:
        path: The file; its folder must exist.
        frames: Frames (H, W, 3), uint8, all of one size; read one at a time.
        fps: Frames per second.
        crf: x264's constant rate factor: 0 lossless, 18 visually lossless, 51 worst.

    Raises:
        T3DError: The file cannot be written, or the encoder does not support this size.
    """
    options = {"crf": str(crf), "preset": "veryfast", "x264-params": _REPEATABLE}
    with complete(path) as unfinished:
        try:
            with av.open(str(unfinished), "w") as container:
                encode(container, frames, fps=fps, options=options)
        except av.error.FFmpegError as error:
            raise T3DError(f"{path}: cannot be encoded ({' '.join(str(error).split())}); name another file") from error


def encode(
    container: OutputContainer,
    frames: Iterable[Tensor],
    *,
    fps: float,
    options: Mapping[str, str],
    times_seconds: Sequence[float] | None = None,
) -> None:
    """Encode RGB frames as H.264 (yuv420p) into an open container, with one thread.

    Args:
        container: Open for writing; the caller closes it.
        frames: Frames (H, W, 3), uint8, all of one size; read one at a time. An odd last row or column is dropped.
        fps: Frames per second.
        options: Options of libx264.
        times_seconds: Time of each frame, if the rate is not constant.

    Raises:
        FFmpegError: The encoder does not support this size.
    """
    stream = None
    for number, frame in enumerate(frames):
        height, width = frame.shape[0] // 2 * 2, frame.shape[1] // 2 * 2
        if stream is None:
            stream = container.add_stream("libx264", rate=Fraction(fps).limit_denominator(1001), options=dict(options))
            stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
            stream.thread_count = 1
            if times_seconds is not None:
                stream.codec_context.time_base = _CLOCK
        picture = np.ascontiguousarray(frame[:height, :width].numpy())
        shown = av.VideoFrame.from_ndarray(picture, format="rgb24")
        if times_seconds is not None:
            shown.pts, shown.time_base = round(times_seconds[number] / _CLOCK), _CLOCK
        container.mux(stream.encode(shown.reformat(format="yuv420p", threads=1)))  # equal bytes for equal frames
    if stream is not None:
        container.mux(stream.encode())
