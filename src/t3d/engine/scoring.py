"""Videos in, class scores out: the one path of validation, evaluation and prediction."""

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor
from torch.utils.data import DataLoader

from t3d.data.clips import OpenVideo, ScoringClip, ScoringClips
from t3d.data.samples import Sample
from t3d.engine.batches import score_clips
from t3d.engine.checkpoints import ModelCard
from t3d.engine.consensus import agree
from t3d.engine.interrupts import ignore_interrupts
from t3d.engine.scorer import Scorer
from t3d.video.decode import open_video
from t3d.video.spec import SegmentSpec, ViewSpec


@dataclass(kw_only=True)
class VideoScores:
    """What the network says about one video."""

    sample: Sample
    parts: list[Tensor] = field(default_factory=list)
    """Softmax scores (crops, K) clip by clip."""
    logits: list[Tensor] = field(default_factory=list)
    """What the softmax was taken of, where several views are judged together."""
    segments: SegmentSpec = field(default_factory=SegmentSpec)
    frames: list[tuple[int, int]] = field(default_factory=list)
    """First and last frame of every clip."""
    fps: float = 0.0
    num_clips: int = 0
    error: str = ""
    """Why the video has no scores; empty where it has."""

    @property
    def clip_scores(self) -> Tensor:
        """Softmax scores (N, K) of every view, float32."""
        return torch.cat(self.parts)

    @property
    def scores(self) -> Tensor:
        """Scores (K,) of the video: the mean over its views; with segments, the softmax of their consensus."""
        if self.segments.enabled:
            return agree(torch.cat(self.logits), self.segments).softmax(dim=0)
        return self.clip_scores.mean(dim=0)

    @property
    def complete(self) -> bool:
        """Whether nothing more is to come."""
        return bool(self.error) or len(self.frames) == self.num_clips > 0


def _softmax(logits: Tensor) -> Tensor:
    return logits.softmax(dim=1)


def score_videos(
    scorer: Scorer,
    samples: Sequence[Sample],
    *,
    card: ModelCard,
    views: ViewSpec,
    num_workers: int = 0,
    source: OpenVideo = open_video,
    read: Callable[[Tensor], Tensor] = _softmax,
) -> Iterator[VideoScores]:
    """Score every video, in the order of the list.

    Clips of several videos are scored together; those of a video may lie in several batches. A video that cannot be
    decoded comes back with `error` set, never replaced by another, and takes nothing from others.

    Args:
        scorer: Makes logits of clips of bytes, such as `torch_scorer`.
        samples: Videos; labels are not looked at.
        card: Frames of a clip, their resizing and crop, and the segments judged together.
        views: Which clips and crops; where it says nothing of clips, the segments of the card, if it has several.
        num_workers: Processes that decode while scores are computed; 0 decodes here.
        source: Opens a path.
        read: What is made of the network's output (views, K) before views are averaged.
    """
    clips = _decoded(samples, card=card, views=views, num_workers=num_workers, source=source)
    waiting: dict[int, VideoScores] = {}
    next_index = 0
    for batch in score_clips(clips, scorer, clips_per_batch=_clips_per_batch(views)):
        for clip, logits in batch:
            video = waiting.setdefault(clip.index, VideoScores(sample=samples[clip.index], segments=card.segments))
            _add(video, clip, logits, read)
        while next_index in waiting and waiting[next_index].complete:
            yield waiting.pop(next_index)
            next_index += 1


def _decoded(
    samples: Sequence[Sample],
    *,
    card: ModelCard,
    views: ViewSpec,
    num_workers: int,
    source: OpenVideo,
) -> "DataLoader[ScoringClip]":
    """Clips one by one; while a batch is computed, workers decode the next one, and no more."""
    num_workers = min(num_workers, math.ceil(len(samples) / 2))
    return DataLoader(
        ScoringClips(
            samples, clip=card.clip, pixels=card.pixels, views=card.segments.resolve(views), open_video=source
        ),
        batch_size=None,
        num_workers=num_workers,
        prefetch_factor=max(2, math.ceil(_clips_per_batch(views) / num_workers)) if num_workers else None,
        worker_init_fn=ignore_interrupts,
    )


def _clips_per_batch(views: ViewSpec) -> int:
    return max(1, views.batch_size // views.crops)


def _add(video: VideoScores, clip: ScoringClip, logits: Tensor, read: Callable[[Tensor], Tensor]) -> None:
    """Take in the scores of a clip; an error in the middle of a video takes back what came before it."""
    if clip.error:
        video.error, video.parts, video.logits, video.frames = clip.error, [], [], []
        return
    video.parts.append(read(logits))
    if video.segments.enabled:
        video.logits.append(logits)
    video.frames.append(clip.frames)
    video.fps = clip.fps
    video.num_clips = clip.num_clips
