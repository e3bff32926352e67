"""Optical flow as a video of two channels, optionally cached on disk.

A `FlowVideo` has the length, rate and times of the original video, so it is sampled, cropped and scored like any video.
"""

import hashlib
import json
import logging
import os
import zipfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import Any

import av
import numpy as np
import torch
from jaxtyping import UInt8
from numpy.typing import NDArray
from torch import Tensor

from t3d.errors import CheckpointError, ConfigError
from t3d.files import complete
from t3d.tensors import Frames
from t3d.video.decode import open_video
from t3d.video.reader import FRAMES_AT_ONCE, VideoReader, checked_indices, size_changes
from t3d.video.spec import PixelSpec
from t3d.video.transforms import ZERO_MOTION, resize

_VERSION = 1
"""Version of values and files; part of cache names."""
_LEVELS = 127
"""Levels on either side of `ZERO_MOTION`: symmetric, so that negation is exact."""

Grey = UInt8[np.ndarray, "H W"]
Field = UInt8[np.ndarray, "H W 2"]


class FlowVideo(VideoReader):
    """Motion from each frame of a video to the next one, whatever the stride of a clip; the last is repeated.

    Frames (T, H, W, 2) are uint8: motion to the right and down. 128 is no motion, 1 and 255 are `flow_bound` or more.
    The flow is computed on the resized frames, because it is slow at full size; resizing it again changes nothing.

    Args:
        video: The frames; closed with this reader.
        pixels: Size of the frames, method and bound.
        kept: Cache file for the flow of the whole video; without it, each frame is computed on request. The values
            are the same.

    Raises:
        ConfigError: OpenCV is not installed.
    """

    def __init__(self, video: VideoReader, pixels: PixelSpec, *, kept: Path | None = None) -> None:
        self.name = video.name
        self.fps = video.fps
        self._video = video
        self._pixels = pixels
        self._kept = kept
        self._opencv = load_opencv()
        self._match = METHODS[pixels.flow_method]
        self._held: dict[int, Grey] = {}

    def __len__(self) -> int:
        return len(self._video)

    def frames(self, indices: Sequence[int] | Tensor) -> Frames:
        """Compute or read the flow of these frames to their next ones."""
        wanted = checked_indices(indices, self.name, video_length=len(self))
        last = len(self) - 2  # the last frame with a next one
        sources = [max(min(index, last), 0) for index in wanted]
        fields = dict(self._flow(sorted(set(sources)))) if self._kept is None else self._read(self._kept, set(sources))
        return torch.from_numpy(np.stack([fields[source] for source in sources]))

    def frame_range(self, start_seconds: float | None, end_seconds: float | None) -> tuple[int, int]:
        """Convert seconds to frames as the video does."""
        return self._video.frame_range(start_seconds, end_seconds)

    def close(self) -> None:
        """Close the video."""
        self._video.close()

    def _flow(self, sources: Sequence[int]) -> Iterator[tuple[int, Field]]:
        """The flow of each of these frames; only some of the frames are in memory at a time."""
        bound = self._pixels.flow_bound * self._pixels.resize
        for start in range(0, len(sources), FRAMES_AT_ONCE):
            targets = {source: min(source + 1, len(self) - 1) for source in sources[start : start + FRAMES_AT_ONCE]}
            with _one_thread(self._opencv):
                self._hold({*targets, *targets.values()})
                flows = [self._match(self._held[source], self._held[target]) for source, target in targets.items()]
            yield from zip(targets, (quantise(flow, bound) for flow in flows), strict=True)

    def _hold(self, indices: set[int]) -> None:
        """Decode missing frames and drop the others; going back by one frame would cost a seek."""
        missing = sorted(indices - self._held.keys())
        self._held = {index: self._held[index] for index in indices & self._held.keys()}
        if missing:
            pictures = resize(self._video.frames(missing), self._pixels).permute(0, 2, 3, 1).contiguous().numpy()
            greys = (self._opencv.cvtColor(picture, self._opencv.COLOR_RGB2GRAY) for picture in pictures)
            self._held.update(zip(missing, greys, strict=True))
        if len({grey.shape for grey in self._held.values()}) > 1:
            raise size_changes(self.name)

    def _read(self, kept: Path, sources: set[int]) -> dict[int, Field]:
        """Read flow from the cache file; write it again if it is missing or damaged."""
        try:
            return _from_file(kept, sources)
        except FileNotFoundError:
            pass
        except Exception:  # zipfile raises half a dozen unrelated types on damaged files
            logging.getLogger(__name__).warning("%s: damaged, computed anew from %s", kept, self.name)
        _to_file(kept, self._flow(range(max(len(self) - 1, 1))))
        return _from_file(kept, sources)


def open_flow(
    path: Path, *, pixels: PixelSpec, folder: Path | None = None, backend: str = "pyav", num_threads: int = 1
) -> FlowVideo:
    """Open the optical flow of a video; see `FlowVideo`.

    Args:
        path: The video.
        pixels: Size of the frames, method and bound.
        folder: Cache folder for flow of this kind, one file per video; None for no cache.
        backend: Library that decodes.
        num_threads: Maximum number of decoder threads.

    Raises:
        ConfigError: A library is not installed.
        DecodeError: The file is missing or has no video stream.
    """
    video = open_video(path, backend=backend, num_threads=num_threads)
    return FlowVideo(video, pixels, kept=None if folder is None else folder / f"{_identity(path)}.zip")


def flow_kind(pixels: PixelSpec, *, backend: str) -> str:
    """Hash, 16 hexadecimal digits, of everything the flow of a file depends on: method, bound, size, libraries.

    PyAV or torchcodec decodes the frames, PyTorch resizes them, OpenCV computes the flow.
    """
    versions = [_VERSION, load_opencv().__version__, torch.__version__, av.__version__, backend]
    return _digits([*versions, pixels.flow_method, pixels.flow_bound, pixels.resize, pixels.resize_mode])


def seen(video: VideoReader, pixels: PixelSpec) -> VideoReader:
    """The video itself, or its flow for the modality flow."""
    return FlowVideo(video, pixels) if pixels.modality == "flow" else video


def quantise(flow: NDArray[np.float32], bound: float) -> Field:
    """Convert motion in pixels to bytes: 128 + 127 x flow / bound, rounded, 1..255."""
    levels = np.rint(flow * (_LEVELS / bound)).clip(-_LEVELS, _LEVELS)
    return (ZERO_MOTION + levels).astype(np.uint8)


def load_opencv() -> ModuleType:
    """Import OpenCV, which is only needed for flow.

    Raises:
        ConfigError: It is not installed.
    """
    try:
        import cv2
    except ImportError as error:
        raise ConfigError(f"--modality flow needs OpenCV ({error}); install 't3d[flow]'") from error
    return cv2


def _dis(before: Grey, after: Grey) -> NDArray[np.float32]:
    opencv = load_opencv()
    # A new object per pair: a reused one keeps state that changes the last digits of the next pair.
    finder = opencv.DISOpticalFlow_create(opencv.DISOPTICAL_FLOW_PRESET_MEDIUM)
    return np.asarray(finder.calc(before, after, None))


def _farneback(before: Grey, after: Grey) -> NDArray[np.float32]:
    settings = {"pyr_scale": 0.5, "levels": 3, "winsize": 15, "iterations": 3, "poly_n": 5, "poly_sigma": 1.2}
    return np.asarray(load_opencv().calcOpticalFlowFarneback(before, after, None, **settings, flags=0))


METHODS: Mapping[str, Callable[[Grey, Grey], NDArray[np.float32]]] = {
    "dis": _dis,
    "farneback": _farneback,
}
"""From names of methods to functions of two grey images that return motion in pixels (H, W, 2).

Source: Kroeger et al. 2016, Fast optical flow using dense inverse search, arXiv:1603.03590, in OpenCV's preset medium;
Farneback 2003, Two-frame motion estimation based on polynomial expansion, with the settings of OpenCV's tutorial.
"""


@contextmanager
def _one_thread(opencv: ModuleType) -> Iterator[None]:
    """Limit OpenCV to one thread, because several workers would otherwise use all cores each."""
    before = opencv.getNumThreads()
    opencv.setNumThreads(1)
    try:
        yield
    finally:
        opencv.setNumThreads(before)


def _to_file(path: Path, fields: Iterator[tuple[int, Field]]) -> None:
    """Write one PNG per frame, u above v, into an uncompressed ZIP, which provides checksums and an index.

    Several processes may write at once: the contents are the same, and the last file stays.

    Raises:
        CheckpointError: It cannot be written.
    """
    opencv = load_opencv()
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with complete(path, shared=True) as unfinished, zipfile.ZipFile(unfinished, "w") as archive:
            for source, field in fields:
                picture = np.concatenate([field[..., 0], field[..., 1]])  # (2 H, W)
                archive.writestr(str(source), opencv.imencode(".png", picture)[1].tobytes())
    except OSError as error:
        raise CheckpointError(
            f"{path}: flow cannot be kept ({error.strerror}); make room, or name another folder by T3D_CACHE"
        ) from error


def _from_file(path: Path, sources: set[int]) -> dict[int, Field]:
    opencv = load_opencv()
    fields = {}
    with zipfile.ZipFile(path) as archive:
        for source in sources:
            data = np.frombuffer(archive.read(str(source)), dtype=np.uint8)
            fields[source] = np.stack(np.split(opencv.imdecode(data, opencv.IMREAD_GRAYSCALE), 2), axis=-1)
    return fields


def _identity(path: Path) -> str:
    """Hash of a file's path and state, 16 hexadecimal digits."""
    status = path.stat()
    return _digits([os.fspath(path.resolve()), status.st_size, status.st_mtime_ns])


def _digits(facts: Any) -> str:  # noqa: ANN401  (anything that JSON can hold)
    return hashlib.sha256(json.dumps(facts).encode()).hexdigest()[:16]
