"""Open a video file with FFmpeg, and refuse at once, by name and with a remedy, what cannot be a video.

Nothing is decoded here, and no size or count that a file claims is believed.
"""

from pathlib import Path

import av
from av.container import InputContainer
from av.video.stream import VideoStream

from t3d.errors import DecodeError

_MAX_PIXELS = 2**26  # 8192 x 8192: more is a damaged or hostile header
_MAX_FPS = 1000.0
_FALLBACK_FPS = 25.0


def open_container(path: Path, *, num_threads: int) -> tuple[InputContainer, VideoStream]:
    """Open a file and pick its video stream; the caller closes the container.

    Raises:
        DecodeError: There is no such file, or no video in it.
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


def average_fps(stream: VideoStream) -> float:
    """Frames a second as the file states them, or 25 where what it states cannot be."""
    rates = [float(rate) for rate in (stream.average_rate, stream.guessed_rate) if rate]
    return next((rate for rate in rates if 0 < rate <= _MAX_FPS), _FALLBACK_FPS)


def _require_file(path: Path) -> None:
    if path.is_dir():
        raise DecodeError(f"{path}: is a folder, not a video; name a file in it")
    if not path.is_file():
        raise DecodeError(f"{path}: no such file; check the path")
    if path.stat().st_size == 0:
        raise DecodeError(f"{path}: the file is empty (0 bytes); fetch it again or remove it")


def _video_stream(container: InputContainer, path: Path, num_threads: int) -> VideoStream:
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
