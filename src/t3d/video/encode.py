"""Write frames to an H.264 file that browsers play. Reading is `t3d.video.decode`'s business."""

from collections.abc import Iterable
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
from torch import Tensor

from t3d.errors import T3DError
from t3d.files import complete

_REPEATABLE = "threads=1:lookahead-threads=1:aq-mode=0:mbtree=0"
"""With threads, adaptive quantisation or its tree, equal pictures do not always give equal bytes."""


def write_video(path: Path, frames: Iterable[Tensor], *, fps: float = 25.0, crf: int = 18) -> None:
    """Encode RGB frames as H.264 (yuv420p) in the container the suffix names.

    The file appears under its name only when complete. An odd last row or column is dropped, for yuv420p halves both.

    Args:
        path: Where to; the folder must exist.
        frames: Pictures (H, W, 3), uint8, all of one size; read one at a time.
        fps: Frames a second.
        crf: x264's constant rate factor: 0 lossless, 18 visually lossless, 51 worst.

    Raises:
        T3DError: The file cannot be written, or the encoder does not take pictures of this size.
    """
    with complete(path) as unfinished:
        try:
            with av.open(str(unfinished), "w") as container:
                _encode(container, frames, rate=Fraction(fps).limit_denominator(1001), crf=crf)
        except av.error.FFmpegError as error:
            raise T3DError(f"{path}: cannot be encoded ({' '.join(str(error).split())}); name another file") from error


def _encode(container: av.container.OutputContainer, frames: Iterable[Tensor], *, rate: Fraction, crf: int) -> None:
    stream = None
    for frame in frames:
        height, width = frame.shape[0] // 2 * 2, frame.shape[1] // 2 * 2
        if stream is None:
            options = {"crf": str(crf), "preset": "veryfast", "x264-params": _REPEATABLE}
            stream = container.add_stream("libx264", rate=rate, options=options)
            stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
            stream.thread_count = 1
        picture = np.ascontiguousarray(frame[:height, :width].numpy())
        shown = av.VideoFrame.from_ndarray(picture, format="rgb24")
        container.mux(stream.encode(shown.reformat(format="yuv420p", threads=1)))  # equal bytes for equal pictures
    if stream is not None:
        container.mux(stream.encode())
