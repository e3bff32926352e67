"""Which form of a video is cheapest to read clips from? H.264 with keyframes more or less dense, and Motion JPEG.

A row a form: CPU milliseconds to open a file and read 32 frames at stride 1, 2 and 4 on one thread, the least of
several rounds in turn, the mean over starts all over the video; kilobytes a frame; the mean absolute difference from
the resized original, in levels of 255. Means over the videos, of which each needs 128 frames. The defaults of
`t3d data prepare` were chosen by this.
"""

import statistics
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from typing import cast

import av
from av.video.stream import VideoStream
from torch import Tensor

from benchmarks.options import Options, use_one_thread
from benchmarks.tables import values_table
from t3d.bench.experiments import Findings
from t3d.bench.rounds import LOGGER
from t3d.video.decode import open_video
from t3d.video.reencode import PreparedForm
from t3d.video.spec import PixelSpec
from t3d.video.transforms import resize

STRIDES = (1, 2, 4)
SPAN, LENGTH, SHORT_SIDE = 31, 164, 256
_JPEG = {"qmin": "4", "qmax": "4", "flags": "+qscale", "global_quality": str(4 * 118)}  # 118: FFmpeg's unit of quality
FORMS: dict[str, tuple[str, str, Mapping[str, str]]] = {
    **{
        f"H.264, keyframe every {k}": ("libx264", "yuv420p", PreparedForm(keyframes=k).options)
        for k in (1, 2, 4, 8, 16)
    },
    "H.264, keyframe every 8, CABAC, loop filter": ("libx264", "yuv420p", PreparedForm().options | {"tune": "ssim"}),
    "Motion JPEG": ("mjpeg", "yuvj420p", _JPEG),
}


_COLUMNS = {
    "form": "",
    **{f"stride {stride}, ms": ".1f" for stride in STRIDES},
    **{"kB a frame": ".1f", "difference": ".1f"},
}


def run(options: Options) -> Findings:
    """Write every video in every form, then read them in turn."""
    use_one_thread()
    with tempfile.TemporaryDirectory() as folder:
        files: dict[str, list[Path]] = {name: [] for name in FORMS}
        kilobytes: dict[str, list[float]] = {name: [] for name in FORMS}
        differences: dict[str, list[float]] = {name: [] for name in FORMS}
        for number, video in enumerate(options.data):
            LOGGER.info("writing %s in %d forms", video.name, len(FORMS))
            frames = _frames(video)
            for name in FORMS:
                path = Path(folder) / f"{number} {name}.mp4"
                _write(path, name, frames)
                files[name].append(path)
                kilobytes[name].append(path.stat().st_size / 1000 / len(frames))
                differences[name].append(_difference(path, frames))
        times = _times(files, options.timed_rounds)
    rows = [
        {
            "form": name,
            **{f"stride {stride}, ms": times[name, stride] for stride in STRIDES},
            "kB a frame": statistics.mean(kilobytes[name]),
            "difference": statistics.mean(differences[name]),
        }
        for name in FORMS
    ]
    videos = f"Means over {', '.join(video.name for video in options.data)}."
    return Findings(tables=[values_table("Reading 32 frames", _COLUMNS, rows, notes=[videos])])


def _frames(path: Path) -> Tensor:
    """The first frames (T, H, W, 3), resized, of even height and width."""
    with open_video(path) as video:
        frames = resize(video.frames(range(min(len(video), LENGTH))), PixelSpec(resize=SHORT_SIDE))
    height, width = (length // 2 * 2 for length in frames.shape[-2:])
    return frames[..., :height, :width].permute(0, 2, 3, 1).contiguous()


def _write(path: Path, name: str, frames: Tensor) -> None:
    codec, pix_fmt, options = FORMS[name]
    with av.open(str(path), "w") as container:
        stream = cast(VideoStream, container.add_stream(codec, rate=25, options=dict(options)))
        stream.height, stream.width = frames.shape[1:3]
        stream.pix_fmt = pix_fmt
        for frame in frames:
            encoded = av.VideoFrame.from_ndarray(frame.numpy(), format="rgb24")
            container.mux(stream.encode(encoded.reformat(format=pix_fmt)))
        container.mux(stream.encode())


def _difference(path: Path, frames: Tensor) -> float:
    sampled = range(0, len(frames), 5)
    with open_video(path) as video:
        return float((video.frames(sampled).short() - frames[::5]).abs().float().mean())


def _times(files: Mapping[str, list[Path]], rounds: int) -> dict[tuple[str, int], float]:
    """Milliseconds by form and stride; forms take turns, for the machine's speed changes."""
    least: dict[tuple[str, int], dict[tuple[Path, int], float]] = {}
    for number in range(1, rounds + 1):
        LOGGER.info("round %d of %d", number, rounds)
        for stride in STRIDES:
            for name, paths in files.items():
                for path in paths:
                    for start in _starts(path, stride):
                        found = least.setdefault((name, stride), {})
                        found[path, start] = min(found.get((path, start), float("inf")), _seconds(path, start, stride))
    return {key: 1000 * statistics.mean(found.values()) for key, found in least.items()}


def _starts(path: Path, stride: int) -> range:
    with open_video(path) as video:
        return range(1, len(video) - SPAN * stride, 17)


def _seconds(path: Path, start: int, stride: int) -> float:
    before = time.process_time()
    with open_video(path) as video:
        video.frames(range(start, start + SPAN * stride + 1, stride))
    return time.process_time() - before
