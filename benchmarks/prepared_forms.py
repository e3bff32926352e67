"""Which form of a video is cheapest to read clips from? H.264 with keyframes more or less dense, and Motion JPEG.

    python benchmarks/prepared_forms.py VIDEO [VIDEO ...]

Prints a row a form: CPU milliseconds to open a file and read 32 frames at stride 1, 2 and 4 on one thread, the least of
several rounds in turn, the mean over starts all through the video; kilobytes a frame; the mean absolute difference from
the resized original, in levels of 255. Means over the videos, of which each needs 128 frames. This is what the defaults
of `t3d data prepare` were chosen by.
"""

import argparse
import statistics
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path

import av
import torch
from torch import Tensor

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


def main() -> None:
    """Write every video in every form, then read them in turn."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("videos", nargs="+", type=Path)
    parser.add_argument("--rounds", type=int, default=8)
    options = parser.parse_args()
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        files: dict[str, list[Path]] = {name: [] for name in FORMS}
        kilobytes: dict[str, list[float]] = {name: [] for name in FORMS}
        differences: dict[str, list[float]] = {name: [] for name in FORMS}
        for number, video in enumerate(options.videos):
            pictures = _pictures(video)
            for name in FORMS:
                path = Path(folder) / f"{number} {name}.mp4"
                _write(path, name, pictures)
                files[name].append(path)
                kilobytes[name].append(path.stat().st_size / 1000 / len(pictures))
                differences[name].append(_difference(path, pictures))
        times = _times(files, options.rounds)
    print(f"| form | {' | '.join(f'stride {stride}' for stride in STRIDES)} | kB a frame | difference |")
    print("|---|" + "---:|" * (len(STRIDES) + 2))
    for name in FORMS:
        cells = [times[name, stride] for stride in STRIDES]
        cells += [statistics.mean(kilobytes[name]), statistics.mean(differences[name])]
        print(f"| {name} | {' | '.join(f'{cell:.1f}' for cell in cells)} |")


def _pictures(path: Path) -> Tensor:
    """The first frames (T, H, W, 3), resized, of even height and width."""
    with open_video(path) as video:
        pictures = resize(video.frames(range(min(len(video), LENGTH))), PixelSpec(resize=SHORT_SIDE))
    height, width = (length // 2 * 2 for length in pictures.shape[-2:])
    return pictures[..., :height, :width].permute(0, 2, 3, 1).contiguous()


def _write(path: Path, name: str, pictures: Tensor) -> None:
    codec, pix_fmt, options = FORMS[name]
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=25, options=dict(options))
        stream.height, stream.width = pictures.shape[1:3]
        stream.pix_fmt = pix_fmt
        for picture in pictures:
            frame = av.VideoFrame.from_ndarray(picture.numpy(), format="rgb24")
            container.mux(stream.encode(frame.reformat(format=pix_fmt)))
        container.mux(stream.encode())


def _difference(path: Path, pictures: Tensor) -> float:
    sampled = range(0, len(pictures), 5)
    with open_video(path) as video:
        return float((video.frames(sampled).short() - pictures[::5]).abs().float().mean())


def _times(files: Mapping[str, list[Path]], rounds: int) -> dict[tuple[str, int], float]:
    """Milliseconds by form and stride; forms take turns, for the machine's speed changes."""
    least: dict[tuple[str, int], dict[tuple[Path, int], float]] = {}
    for _ in range(rounds):
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


if __name__ == "__main__":
    main()
