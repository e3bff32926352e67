"""Open a video file with FFmpeg, refuse other files, and rotate frames by the display matrix.

Sizes, rates and counts in a header are not trusted: it may be damaged or hostile.
"""

from pathlib import Path
from typing import SupportsFloat, cast

import av
import numpy as np
from av.container import InputContainer
from av.sidedata.sidedata import SideData
from av.video.stream import VideoStream
from numpy.typing import NDArray

from t3d.errors import DecodeError

_MAX_PIXELS = 2**26  # 8192 x 8192: more is a damaged or hostile header
_MAX_FPS = 1000.0
_FALLBACK_FPS = 25.0
# Playlists refer to other files and may wait for them indefinitely; FFmpeg renders text files as video.
_NO_VIDEOS = frozenset({"concat", "dash", "hls", "tty"})


def open_container(path: Path, *, num_threads: int) -> tuple[InputContainer, VideoStream]:
    """Open a file and pick its video stream; the caller closes the container.

    Raises:
        DecodeError: The file is missing or has no video stream.
    """
    _require_file(path)
    try:
        container = av.open(f"file:{path}", options={"protocol_whitelist": "file"})
    except av.error.FFmpegError as error:
        raise DecodeError(
            f"{path}: not a video, or one cut short ({error.strerror}); re-encode or remove it"
        ) from error
    try:
        return container, _video_stream(container, path, num_threads)
    except BaseException:
        container.close()
        raise


def plausible_fps(*rates: SupportsFloat | None) -> float:
    """The first plausible frame rate, or 25: some files state thousands, or none."""
    numbers = (float(rate) for rate in rates if rate is not None)
    return next((number for number in numbers if 0 < number <= _MAX_FPS), _FALLBACK_FPS)


def apply_display_matrix(picture: NDArray[np.uint8], frame: av.VideoFrame) -> NDArray[np.uint8]:
    """Apply the display matrix of a frame to its image (H, W, 3): quarter turns and reflections.

    The matrix maps the stored point (x, y) to (a x + c y, b x + d y); phones write one for portrait recordings.
    """
    matrix = cast(SideData | None, frame.side_data.get("DISPLAYMATRIX"))  # PyAV's stub knows of no keys
    if matrix is None:
        return picture
    a, b, _, c, d = np.frombuffer(bytes(matrix), dtype=np.int32)[:5].tolist()
    if abs(b) > abs(a):  # rows become columns
        picture, a, d = picture.transpose(1, 0, 2), c, b
    return picture[:: -1 if d < 0 else 1, :: -1 if a < 0 else 1]


def _require_file(path: Path) -> None:
    if path.is_dir():
        raise DecodeError(f"{path}: is a folder, not a video; name a file in it")
    if not path.is_file():
        raise DecodeError(f"{path}: no such file; check the path")
    if path.stat().st_size == 0:
        raise DecodeError(f"{path}: the file is empty (0 bytes); fetch it again or remove it")


def _video_stream(container: InputContainer, path: Path, num_threads: int) -> VideoStream:
    if container.format.name in _NO_VIDEOS:
        raise DecodeError(f"{path}: is a playlist or text, not a video; name the videos themselves")
    stream = container.streams.best("video")
    if not isinstance(stream, VideoStream) or stream.disposition & av.stream.Disposition.attached_pic:
        raise DecodeError(f"{path}: holds no video stream (sound only?); remove it from the list")
    if stream.codec_context is None:
        raise DecodeError(f"{path}: no decoder for its video stream; re-encode it as H.264")
    if stream.width * stream.height > _MAX_PIXELS:
        raise DecodeError(f"{path}: claims pictures of {stream.width} x {stream.height}; re-encode or remove it")
    stream.codec_context.options = {"max_pixels": str(_MAX_PIXELS)}
    stream.codec_context.thread_count = num_threads
    if num_threads > 1:
        stream.codec_context.thread_type = "AUTO"
    return stream
