"""What optical flow costs: to compute, to keep and to read again, beside decoding the frames.

One thread, milliseconds of wall time a frame. `kept` is computing and writing the whole video; `read` is a clip of 32
frames from what was kept, opening included, and `decoded` the same clip decoded. `deviation` is that of the bytes
around no motion, and `at the bound` the share of values that the scale cuts off.
"""

import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from benchmarks.options import Options, use_one_thread
from benchmarks.tables import values_table
from t3d.bench.experiments import Findings
from t3d.bench.rounds import LOGGER
from t3d.video.decode import open_video
from t3d.video.optical_flow import METHODS, load_opencv, open_flow
from t3d.video.reader import VideoReader
from t3d.video.spec import PixelSpec

CLIP = 32
_COLUMNS = {
    **{"video": "", "method": "", "size": ""},
    **{"decoded ms": ".2f", "kept ms": ".2f", "read ms": ".2f"},
    **{"bytes a frame": ".0f", "deviation": ".1f", "at the bound": ".2%"},
}


def run(options: Options) -> Findings:
    """Measure each video with each method."""
    use_one_thread()
    rows = []
    for path in options.data:
        for method in METHODS:
            LOGGER.info("%s, %s", path.name, method)
            rows.append(_row(path, method, options.resize))
    note = f"OpenCV {load_opencv().__version__}; milliseconds are of one frame, on one thread."
    return Findings(tables=[values_table(f"Optical flow, short side {options.resize}", _COLUMNS, rows, notes=[note])])


def _row(path: Path, method: str, size: int) -> dict[str, Any]:
    pixels = PixelSpec(resize=size, crop_size=size, modality="flow", flow_method=method)  # type: ignore[arg-type]
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        length, flow = _whole(path, pixels)
        decoding = _clip_seconds(lambda: open_video(path))
        start = time.perf_counter()
        with open_flow(path, pixels=pixels, folder=folder) as video:
            video.frames([0])
        keeping = time.perf_counter() - start
        reading = _clip_seconds(lambda: open_flow(path, pixels=pixels, folder=folder))
        (file,) = folder.iterdir()
        num_bytes = file.stat().st_size / length
    height, width = flow.shape[1:3]
    return {
        "video": path.name,
        "method": method,
        "size": f"{height} x {width}",
        "decoded ms": 1000 * decoding / CLIP,
        "kept ms": 1000 * keeping / length,
        "read ms": 1000 * reading / CLIP,
        "bytes a frame": num_bytes,
        "deviation": float(flow.float().sub(128).std()),
        "at the bound": float(((flow == 1) | (flow == 255)).float().mean()),
    }


def _whole(path: Path, pixels: PixelSpec) -> tuple[int, torch.Tensor]:
    with open_flow(path, pixels=pixels) as video:
        return len(video), video.frames(range(len(video)))


def _clip_seconds(open_one: Callable[[], VideoReader]) -> float:
    start = time.perf_counter()
    with open_one() as video:
        first = max(len(video) - CLIP, 0) // 2
        video.frames([min(first + index, len(video) - 1) for index in range(CLIP)])
    return time.perf_counter() - start
