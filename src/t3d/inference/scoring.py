"""Score videos: the common code of validation, evaluation and prediction."""

import math
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor
from torch.utils.data import DataLoader

from t3d.data.clips import OpenVideo, ScoringClip, ScoringClips
from t3d.data.samples import Sample
from t3d.inference.backends.base import Scorer
from t3d.models.checkpoints import ModelCard
from t3d.system import ignore_interrupts
from t3d.video.decode import open_video
from t3d.video.spec import SegmentSpec, ViewSpec
from t3d.workers import iterate


@dataclass(kw_only=True)
class VideoScores:
    """Scores of one video."""

    sample: Sample
    parts: list[Tensor] = field(default_factory=list)
    """Softmax scores (crops, K) clip by clip."""
    logits: list[Tensor] = field(default_factory=list)
    """Logits (crops, K) clip by clip, if segments are combined by consensus."""
    segments: SegmentSpec = field(default_factory=SegmentSpec)
    frames: list[tuple[int, int]] = field(default_factory=list)
    """First and last frame of every clip."""
    fps: float = 0.0
    num_clips: int = 0
    error: str = ""
    """Why the video has no scores; empty if it has."""

    @property
    def clip_scores(self) -> Tensor:
        """Softmax scores (N, K) of every view, float32."""
        return torch.cat(self.parts)

    @property
    def scores(self) -> Tensor:
        """Scores (K,) of the video: the mean over its views; with segments, the softmax of their consensus."""
        if self.segments.enabled:
            return aggregate_segments(torch.cat(self.logits), self.segments).softmax(dim=0)
        return self.clip_scores.mean(dim=0)

    @property
    def complete(self) -> bool:
        """Whether all clips have been scored."""
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

    Clips of several videos share batches; those of a video may be in several batches. An undecodable video is returned
    with `error` set; it is never replaced and does not affect others.

    Args:
        scorer: Maps uint8 clips to logits, such as `torch_scorer`.
        samples: Videos; labels are ignored.
        card: Frames of a clip, resizing and crop, and segments.
        views: Clips and crops; without a choice of clips, the segments of the card, if it has several.
        num_workers: Processes that decode while scores are computed; 0 decodes in this process.
        source: Opens a path.
        read: Function of the network's output (views, K), applied before views are averaged.
    """
    clips = _decoded(samples, card=card, views=views, num_workers=num_workers, source=source)
    waiting: dict[int, VideoScores] = {}
    next_index = 0
    for batch in score_clips(iterate(clips), scorer, clips_per_batch=_clips_per_batch(views)):
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
    """Decoded clips one by one; while a batch is computed, workers decode the next one, and no more."""
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
    """Add the scores of a clip; an error within a video discards its earlier scores."""
    if clip.error:
        video.error, video.parts, video.logits, video.frames = clip.error, [], [], []
        return
    video.parts.append(read(logits))
    if video.segments.enabled:
        video.logits.append(logits)
    video.frames.append(clip.frames)
    video.fps = clip.fps
    video.num_clips = clip.num_clips


ScoredClip = tuple[ScoringClip, Tensor]
"""A clip and its logits (crops, K), on the CPU; (0, 0) for an error."""


class _Underway(NamedTuple):
    """A batch that the device is computing."""

    clips: list[ScoringClip]
    logits: Tensor
    """(views, K), on the CPU; valid after `arrived`."""
    arrived: torch.cuda.Event | None
    """Event of the copy; None if there is nothing to wait for."""


def score_clips(clips: Iterable[ScoringClip], scorer: Scorer, *, clips_per_batch: int) -> Iterator[list[ScoredClip]]:
    """Score clips in their order; every batch except the last is full.

    Errors are passed on in their places. A GPU gets the next batch before the previous one is waited for.

    Args:
        clips: Of any videos, all with the same number of crops.
        scorer: Maps clips to logits.
        clips_per_batch: Clips in one call of the scorer.
    """
    underway: deque[_Underway] = deque()
    for batch in _batches(clips, clips_per_batch):
        underway.append(_send(batch, scorer))
        while underway and (underway[0].arrived is None or len(underway) > 1):
            yield _wait(underway.popleft())
    yield from map(_wait, underway)


def _batches(clips: Iterable[ScoringClip], clips_per_batch: int) -> Iterator[list[ScoringClip]]:
    batch: list[ScoringClip] = []
    for clip in clips:
        batch.append(clip)
        if sum(member.views is not None for member in batch) == clips_per_batch:
            yield batch
            batch = []
    if batch:
        yield batch


def _send(clips: list[ScoringClip], scorer: Scorer) -> _Underway:
    views = [clip.views for clip in clips if clip.views is not None]
    if not views:
        return _Underway(clips, torch.empty(0, 0), None)
    logits = scorer(torch.cat(views))
    on_cpu = logits.to("cpu", non_blocking=logits.is_cuda)
    arrived = None
    if logits.is_cuda:
        arrived = torch.cuda.Event()
        arrived.record(torch.cuda.current_stream(logits.device))
    return _Underway(clips, on_cpu, arrived)


def _wait(batch: _Underway) -> list[ScoredClip]:
    if batch.arrived is not None:
        batch.arrived.synchronize()
    sizes = [0 if clip.views is None else len(clip.views) for clip in batch.clips]
    return list(zip(batch.clips, batch.logits.split(sizes), strict=True))


def aggregate_segments(logits: Float[Tensor, "*B N K"], spec: SegmentSpec) -> Float[Tensor, "*B K"]:
    """Consensus of the logits of N clips of a video, class by class.

    If there are fewer clips than `spec.consensus_top`, all of them count.

    Source: Wang et al. 2016, arXiv:1608.00859, section 3.1 (segmental consensus: mean and max); top-k pooling is of
    their arXiv:1705.02953, where the k highest have equal weight. The linear weights are our decision.
    """
    if spec.consensus == "mean":
        return logits.mean(dim=-2)
    if spec.consensus == "max":
        return logits.amax(dim=-2)
    count = min(spec.consensus_top, logits.shape[-2])
    weights = torch.arange(count, 0, -1, dtype=logits.dtype, device=logits.device)
    highest = logits.topk(count, dim=-2).values  # (B, count, K)
    return (highest * weights[:, None]).sum(dim=-2) / weights.sum()
