"""Open a video file with one of the decoding libraries.

A library is a function that opens a file, and a row of `BACKENDS`.
"""

from collections.abc import Callable
from pathlib import Path

from t3d.errors import ConfigError
from t3d.video.pyav_reader import PyAVVideo
from t3d.video.reader import ArrayVideo, VideoReader

__all__ = ["BACKENDS", "ArrayVideo", "VideoReader", "open_video"]


def open_video(path: Path, *, backend: str = "pyav", num_threads: int = 1) -> VideoReader:
    """Open a video for exact random access; close it, or use it as a context manager.

    Args:
        path: The file.
        backend: A key of `BACKENDS`.
        num_threads: Maximum number of decoder threads.

    Raises:
        ConfigError: There is no such backend, or its library is not installed.
        DecodeError: The file is missing or has no video stream.
    """
    if backend not in BACKENDS:
        raise ConfigError(f"unknown backend {backend!r}; choose from {', '.join(BACKENDS)}")
    return BACKENDS[backend](path, num_threads)


def _open_pyav(path: Path, num_threads: int) -> VideoReader:
    return PyAVVideo(path, num_threads=num_threads)


def _open_torchcodec(path: Path, num_threads: int) -> VideoReader:
    try:
        from t3d.video.torchcodec_reader import TorchCodecVideo
    except (ImportError, RuntimeError, OSError) as error:  # also raised if FFmpeg's libraries are missing
        raise ConfigError(
            "backend 'torchcodec' cannot be loaded; install 't3d[torchcodec]' and the system's FFmpeg, or use 'pyav'"
        ) from error
    return TorchCodecVideo(path, num_threads=num_threads)


BACKENDS: dict[str, Callable[[Path, int], VideoReader]] = {"pyav": _open_pyav, "torchcodec": _open_torchcodec}
"""From names of decoding libraries to functions that open a file."""
