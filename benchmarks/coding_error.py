"""Does the coding error of H.264 tell the direction of time? Its size along the built-in videos, by rate factor.

Videos of temporal shapes are drawn, encoded and read again. An error that grows along the video would let single frames
tell a class from its time-reversed twin; `t3d.data.shapes` encodes with a factor at which it does not.
"""

import tempfile
from pathlib import Path

import torch

from benchmarks.options import Options, use_one_thread
from benchmarks.tables import values_table
from t3d.bench.experiments import Findings
from t3d.bench.rounds import LOGGER
from t3d.data.shape_frames import EVENT_FRACTIONS, SHAPE_PAIRS, draw_shape_video, shape_frames
from t3d.tensors import Frames
from t3d.video.decode import open_video
from t3d.video.encode import write_video

RATE_FACTORS = (18, 6)
NUM_FRAMES, EDGE, VIDEOS_EACH = 31, 64, 4
_SHOWN = {"first frame": 0, "middle frame": NUM_FRAMES // 2, "last frame": NUM_FRAMES - 1}
_COLUMNS = {"crf": "", **dict.fromkeys(_SHOWN, ".2f")}


def run(options: Options) -> Findings:
    """Encode the same videos with each rate factor."""
    use_one_thread()
    videos = draw_videos(VIDEOS_EACH)
    rows = []
    for crf in RATE_FACTORS:
        LOGGER.info("crf %d", crf)
        with tempfile.TemporaryDirectory() as folder:
            errors = torch.stack([_errors(frames, Path(folder) / "video.mp4", crf) for frames in videos]).mean(dim=0)
        rows.append({"crf": crf, **{name: float(errors[index]) for name, index in _SHOWN.items()}})
    title = f"Mean absolute error, levels of 255, {len(videos)} videos of temporal shapes"
    return Findings(tables=[values_table(title, _COLUMNS, rows)])


def draw_videos(count: int) -> list[Frames]:
    """Draw so many videos of every class and length of event."""
    generator = torch.Generator().manual_seed(0)
    return [
        shape_frames(label, draw_shape_video(event_range, generator), num_frames=NUM_FRAMES, edge=EDGE)
        for pair in SHAPE_PAIRS
        for label in pair
        for event_range in EVENT_FRACTIONS
        for _ in range(count)
    ]


def _errors(frames: Frames, path: Path, crf: int) -> torch.Tensor:
    """Of every frame (T,)."""
    write_video(path, frames, crf=crf)
    with open_video(path) as video:
        read = video.frames(range(len(frames)))
    return (read.short() - frames.short()).abs().float().mean(dim=(1, 2, 3))
