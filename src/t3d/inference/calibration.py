"""Clips of training videos for int8 calibration and for the comparison with PyTorch."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from t3d.data.clips import ClipKey, OpenVideo, TrainClips, seeded
from t3d.data.samples import VideoList
from t3d.errors import DataError
from t3d.models.checkpoints import ModelCard
from t3d.video.spec import AugmentSpec


@dataclass(frozen=True, kw_only=True, eq=False)
class TrainingClips:
    """Clips as bytes (N, C, T, H, W)."""

    compared: Tensor
    fitted: Tensor | None
    """Clips for calibration; None if none were requested."""
    apart: bool
    """Whether both kinds of clips are of different videos."""


def draw_training_clips(
    videos: VideoList,
    card: ModelCard,
    *,
    compared: int,
    fitted: int,
    source: OpenVideo,
    progress: Callable[[Sequence[ClipKey]], Iterable[ClipKey]] = iter,
) -> TrainingClips:
    """Centre crops of clips with random start, from as many videos as possible.

    Clips for the comparison are from videos set aside for it, because the clips of a short video are nearly equal.
    Undecodable videos are skipped.

    Args:
        videos: The training list.
        card: Frames and pixels of a clip.
        compared: Number of clips for the comparison.
        fitted: Number of clips for calibration, or 0.
        source: Opens a path.
        progress: Wraps the iterable of clips, to show progress.

    Raises:
        DataError: None of the videos can be decoded.
    """
    clips = TrainClips(
        videos.samples,
        clip=card.clip,
        pixels=card.pixels,
        augment=AugmentSpec(crop="centre", flip_probability=0.0),
        open_video=source,
        seed=0,
    )
    order = torch.randperm(len(clips), generator=seeded(0, 0, 0)).tolist()
    aside = _num_aside(len(order), compared=compared, fitted=fitted)
    others = order[aside:] or order

    def draw(videos: Sequence[int], numbers: Sequence[int]) -> Tensor:
        """Clips of the videos in turn; each number determines a start within its video."""
        keys = [ClipKey(epoch=number // len(videos), video=videos[number % len(videos)]) for number in numbers]
        return _stack_decoded([clips[key] for key in progress(keys)])

    return TrainingClips(
        compared=draw(order[:aside], range(compared)),
        fitted=draw(others, range(compared, compared + fitted)) if fitted else None,
        apart=aside < len(order),
    )


def _num_aside(num_videos: int, *, compared: int, fitted: int) -> int:
    """Number of videos for the comparison: proportional to the clips, and one for either purpose at least."""
    wanted = num_videos * compared // (compared + fitted)
    return max(1, min(wanted, num_videos - bool(fitted), compared))


def _stack_decoded(drawn: Sequence[tuple[Tensor, int] | str]) -> Tensor:
    good = [item[0] for item in drawn if not isinstance(item, str)]
    if not good:
        raise DataError(f"none of {len(drawn)} training clips can be decoded; repair the videos, first: {drawn[0]}")
    return torch.stack(good)
