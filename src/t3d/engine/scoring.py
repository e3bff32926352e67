"""Videos in, class scores out: the one path of validation, evaluation and prediction."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader

from t3d.data.clips import Chunk, OpenVideo, ScoringClips
from t3d.data.samples import Sample
from t3d.engine.checkpoints import ModelCard
from t3d.engine.consensus import agree
from t3d.engine.loading import ignore_interrupts
from t3d.video.decode import open_video
from t3d.video.spec import PixelSpec, SegmentSpec, ViewSpec
from t3d.video.transforms import normalise


@dataclass(kw_only=True)
class VideoScores:
    """What the network says about one video."""

    sample: Sample
    parts: list[Tensor] = field(default_factory=list)
    """Softmax scores (views, K) chunk by chunk."""
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
    model: nn.Module,
    samples: Sequence[Sample],
    *,
    card: ModelCard,
    views: ViewSpec,
    num_workers: int = 0,
    source: OpenVideo = open_video,
    read: Callable[[Tensor], Tensor] = _softmax,
) -> Iterator[VideoScores]:
    """Score every video, in the order of the list.

    A video that cannot be decoded comes back with `error` set, never replaced by another.

    Args:
        model: A network in evaluation mode; it stays on its device, and may be wrapped for mixed precision.
        samples: Videos; labels are not looked at.
        card: Frames of a clip, their resizing, crop and normalisation, and the segments judged together.
        views: Which clips and crops; where it says nothing of clips, the segments of the card, if it has several.
        num_workers: Processes that decode; 0 decodes here.
        source: Opens a path.
        read: What is made of the network's output (views, K) before views are averaged.
    """
    clips = ScoringClips(
        samples,
        clip=card.clip,
        pixels=card.pixels,
        views=card.segments.resolve(views),
        open_video=source,
    )
    num_workers = min(num_workers, len(samples) // 2)
    chunks: DataLoader[Chunk] = DataLoader(
        clips, batch_size=None, num_workers=num_workers, worker_init_fn=ignore_interrupts
    )
    waiting: dict[int, VideoScores] = {}
    next_index = 0
    for chunk in chunks:
        video = waiting.setdefault(chunk.index, VideoScores(sample=samples[chunk.index], segments=card.segments))
        _add(video, chunk, model, card.pixels, read)
        while next_index in waiting and waiting[next_index].complete:
            yield waiting.pop(next_index)
            next_index += 1


@torch.inference_mode()
def _add(
    video: VideoScores, chunk: Chunk, model: nn.Module, pixels: PixelSpec, read: Callable[[Tensor], Tensor]
) -> None:
    """Score a chunk; an error in the middle of a video takes back what was scored before it."""
    if chunk.views is None:
        video.error, video.parts, video.logits, video.frames = chunk.error, [], [], []
        return
    device = next(model.parameters()).device
    logits = model(normalise(chunk.views.to(device, non_blocking=True), pixels)).float()
    video.parts.append(read(logits).cpu())
    if video.segments.enabled:
        video.logits.append(logits.cpu())
    video.frames.extend(chunk.frames)
    video.fps = chunk.fps
    video.num_clips = chunk.num_clips
