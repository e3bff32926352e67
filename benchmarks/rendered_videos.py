"""Videos to measure reading on: texture of all scales that drifts, an object before it, noise. No dataset.

Encoded as most videos are that people find: x264's own settings, a keyframe every 250 frames. Pictures of a fixed seed
take about 150 kbit/s, as much as recorded ones do at this size and quality.
"""

import math
from collections.abc import Iterator
from pathlib import Path

import av
import torch
from torch import Tensor
from torch.nn import functional as F

from t3d.files import complete
from t3d.video.encode import encode

NUM_FRAMES = 250
_HEIGHT, _WIDTH, _OBJECT, _MARGIN = 240, 320, 72, 100
_USUAL = {"crf": "23", "preset": "medium"}


def render_videos(folder: Path, *, count: int, num_frames: int = NUM_FRAMES) -> list[Path]:
    """Write so many videos of 320 x 240 at 25 frames a second."""
    paths = [folder / f"rendered{index}.mp4" for index in range(count)]
    for index, path in enumerate(paths):
        frames = _scene(num_frames, torch.Generator().manual_seed(index))
        with complete(path) as unfinished, av.open(str(unfinished), "w") as container:
            encode(container, frames, fps=25.0, options=_USUAL)
    return paths


def _scene(num_frames: int, generator: torch.Generator) -> Iterator[Tensor]:
    ground = _texture(generator)
    subject = F.interpolate(torch.rand(1, 3, 24, 24, generator=generator) * 255, (_OBJECT, _OBJECT), mode="bicubic")[0]
    for index in range(num_frames):
        top, left = _sway(index / 40, _MARGIN), _sway(index / 55, _MARGIN)
        picture = ground[:, top : top + _HEIGHT, left : left + _WIDTH].clone()
        down, right = _sway(index / 13, (_HEIGHT - _OBJECT) // 2), _sway(index / 17, (_WIDTH - _OBJECT) // 2)
        picture[:, down : down + _OBJECT, right : right + _OBJECT] = subject
        picture += 3 * torch.randn(1, _HEIGHT, _WIDTH, generator=generator)
        yield picture.clamp(0, 255).byte().permute(1, 2, 0)


def _texture(generator: torch.Generator) -> Tensor:
    """Noise whose strength is about inverse to its frequency, as in photographs; mostly grey (3, H, W)."""
    height, width = _HEIGHT + 2 * _MARGIN, _WIDTH + 2 * _MARGIN
    ground = torch.full((3, height, width), 128.0)
    for cells in (8, 16, 32, 64, 128, 256):
        for channels, strength in ((1, 200.0), (3, 60.0)):
            coarse = torch.randn(1, channels, cells, cells * width // height, generator=generator)
            ground += strength / cells**0.9 * F.interpolate(coarse, (height, width), mode="bicubic")[0]
    return ground


def _sway(angle: float, amount: int) -> int:
    return round(amount * (1 + math.sin(angle)))
