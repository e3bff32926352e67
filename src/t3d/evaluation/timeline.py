"""Timeline of a long video: scores over time as CSV and plot, and a copy with captions."""

import math
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor

from t3d.evaluation.plots import save_figure, timeline_figure
from t3d.files import write_csv
from t3d.inference.scoring import VideoScores
from t3d.video.decode import open_video
from t3d.video.encode import write_video

_FRAMES_AT_ONCE = 32
_LEGIBLE_EDGE, _LARGEST_EDGE = 192, 1920
"""Smaller frames are enlarged by a whole factor, so that the caption is legible."""


def write_timeline(folder: Path, name: str, *, video: VideoScores, labels: Sequence[str], top: int) -> list[Path]:
    """Write `<name>.timeline.csv`, `.timeline.png` and `.annotated.mp4` for a scored video.

    Args:
        folder: Created if needed.
        name: Name of the files.
        video: Scores of its clips, in the order of their starts.
        labels: Class names.
        top: Number of classes in the plot.
    """
    folder.mkdir(parents=True, exist_ok=True)
    scores = _clip_means(video)
    seconds = [(first / video.fps, (last + 1) / video.fps) for first, last in video.frames]
    files = [folder / f"{name}.{kind}" for kind in ("timeline.csv", "timeline.png", "annotated.mp4")]
    write_csv(files[0], _rows(scores, seconds, labels))
    save_figure(timeline_figure(scores, seconds, labels, top=top), files[1])
    captions = [f"{labels[int(row.argmax())]}  {float(row.max()):.0%}" for row in scores]
    write_video(files[2], _annotated(video.sample.path, captions, [first for first, _ in video.frames]), fps=video.fps)
    return files


def _clip_means(video: VideoScores) -> Tensor:
    """Scores (N, K) of every clip, averaged over its crops."""
    return video.clip_scores.unflatten(0, (len(video.frames), -1)).mean(dim=1)


def _rows(
    scores: Tensor, seconds: Sequence[tuple[float, float]], labels: Sequence[str]
) -> list[dict[str, str | float]]:
    return [
        {"start_seconds": f"{start:.3f}", "end_seconds": f"{end:.3f}", "predicted": labels[int(row.argmax())]}
        | {f"score:{label}": score for label, score in zip(labels, row.tolist(), strict=True)}
        for row, (start, end) in zip(scores, seconds, strict=True)
    ]


def _annotated(path: Path, captions: Sequence[str], first_frames: Sequence[int]) -> Iterator[Tensor]:
    """All frames, each with the caption of the last clip that has started."""
    clip = 0
    with open_video(path) as video:
        for start in range(0, len(video), _FRAMES_AT_ONCE):
            indices = range(start, min(start + _FRAMES_AT_ONCE, len(video)))
            for index, frame in zip(indices, video.frames(indices), strict=True):
                while clip + 1 < len(captions) and index >= first_frames[clip + 1]:
                    clip += 1
                yield _captioned(frame, captions[clip])


def _captioned(frame: Tensor, caption: str) -> Tensor:
    short, long = sorted(frame.shape[:2])
    scale = max(1, min(math.ceil(_LEGIBLE_EDGE / short), _LARGEST_EDGE // long))
    picture = Image.fromarray(frame.repeat_interleave(scale, dim=0).repeat_interleave(scale, dim=1).numpy())
    draw = ImageDraw.Draw(picture)
    size = max(8, picture.height // 16)
    font = ImageFont.load_default(size)
    draw.rectangle((0, 0, draw.textlength(caption, font=font) + size, 1.6 * size), fill="black")
    draw.text((0.5 * size, 0.2 * size), caption, fill="white", font=font)
    return torch.from_numpy(np.array(picture))
