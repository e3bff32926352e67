"""What optical flow costs: to compute, to keep and to read again, beside decoding the pictures.

    python benchmarks/optical_flow.py VIDEO [VIDEO ...] --resize 256

Prints a row a video and method, one thread, milliseconds of wall time a frame. `kept` is computing and writing the
whole video; `read` is a clip of 32 frames from what was kept, opening included, and `clip of pictures` the same clip
decoded. `deviation` is that of the bytes around no motion, and `held` the share of values beyond the bound.
"""

import argparse
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import torch

from t3d.video.decode import open_video
from t3d.video.optical_flow import METHODS, load_opencv, open_flow
from t3d.video.reader import VideoReader
from t3d.video.spec import PixelSpec

CLIP = 32
COLUMNS = "video", "method", "size", "clip of pictures", "kept", "read", "bytes a frame", "deviation", "held"


def main() -> None:
    """Measure each video with each method and print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("videos", nargs="+", type=Path)
    parser.add_argument("--resize", type=int, default=256)
    options = parser.parse_args()
    torch.set_num_threads(1)
    print(f"torch {torch.__version__}, OpenCV {load_opencv().__version__}\n\n| {' | '.join(COLUMNS)} |")
    print(f"|{'---|' * len(COLUMNS)}")
    for path in options.videos:
        for method in METHODS:
            print(f"| {' | '.join(_row(path, method, options.resize))} |")


def _row(path: Path, method: str, size: int) -> list[str]:
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
    held = ((flow == 1) | (flow == 255)).float().mean()
    milliseconds = [f"{1000 * seconds:.2f}" for seconds in (decoding / CLIP, keeping / length, reading / CLIP)]
    height, width = flow.shape[1:3]
    levels = [f"{num_bytes:.0f}", f"{flow.float().sub(128).std():.1f}", f"{held:.2%}"]
    return [path.name, method, f"{height} x {width}", *milliseconds, *levels]


def _whole(path: Path, pixels: PixelSpec) -> tuple[int, torch.Tensor]:
    with open_flow(path, pixels=pixels) as video:
        return len(video), video.frames(range(len(video)))


def _clip_seconds(open_one: Callable[[], VideoReader]) -> float:
    start = time.perf_counter()
    with open_one() as video:
        first = max(len(video) - CLIP, 0) // 2
        video.frames([min(first + index, len(video) - 1) for index in range(CLIP)])
    return time.perf_counter() - start


if __name__ == "__main__":
    main()
