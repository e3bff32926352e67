"""Torch datasets of clips: one random clip (per segment) for training, every clip for scoring.

Each random choice is a function of (seed, epoch, index), independent of workers and of earlier reads, so any number of
workers gives the same clips, and a run can resume in the middle of an epoch.
"""

import os
import zlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from enum import IntEnum
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor
from torch.utils.data import Dataset, IterableDataset, Sampler, get_worker_info

from t3d.data.samples import Sample
from t3d.errors import DecodeError
from t3d.tensors import Clip, FrameIndices, Frames, Views
from t3d.video.reader import VideoReader, iter_clips
from t3d.video.sampling import (
    non_overlapping_clips,
    random_clip,
    segment_clips,
    shuffle_frames,
    sliding_clips,
    uniform_clips,
)
from t3d.video.spec import AugmentSpec, ClipSpec, PixelSpec, ViewSpec
from t3d.video.transforms import centre_view, three_views, train_view

OpenVideo = Callable[[Path], VideoReader]


class ClipKey(NamedTuple):
    """Index of a video and the epoch."""

    epoch: int
    video: int


class TrainBatch(NamedTuple):
    """Clips (B, C, T, H, W) uint8, labels (B,), and the videos that could not be decoded.

    With N segments per video, clips are (B, N, C, T, H, W).
    """

    clips: Tensor
    labels: Tensor
    failures: list[str]

    @property
    def num_clips(self) -> int:
        """B; the number of videos, if they have several segments."""
        return len(self.labels)


class TrainClips(Dataset[tuple[Clip | Views, int] | str]):
    """One random clip of each video, or of each of its segments; the text of the error for an undecodable video.

    All segments of a video get the same crop, flip and colours, because they show one scene.
    """

    def __init__(
        self,
        samples: Sequence[Sample],
        *,
        clip: ClipSpec,
        pixels: PixelSpec,
        augment: AugmentSpec,
        open_video: OpenVideo,
        seed: int,
        segments: int = 1,
    ) -> None:
        self.samples = samples
        self.clip = clip
        self.pixels = pixels
        self.augment = augment
        self.open_video = open_video
        self.seed = seed
        self.segments = segments

    def __len__(self) -> int:
        return len(self.samples)

    def __getitem__(self, key: ClipKey) -> tuple[Clip | Views, int] | str:
        sample = self.samples[key.video]
        generator = seeded(self.seed, key.epoch, key.video)
        try:
            with self.open_video(sample.path) as video:
                first, last = frames_of(video, sample)
                indices = first + _ordered(self._pick(last - first, generator), self.clip, generator)  # (N, T)
                views = [
                    train_view(frames, self.pixels, self.augment, generator.clone_state())  # the same draws for all
                    for frames in self._frames(video, indices)
                ]
        except DecodeError as error:
            return str(error)
        return views[0] if self.segments == 1 else torch.stack(views), sample.label

    def _frames(self, video: VideoReader, clips: FrameIndices) -> Iterable[Frames]:
        if self.segments == 1:
            return [video.frames(clips[0])]
        return map(torch.stack, iter_clips(video, clips))

    def _pick(self, video_length: int, generator: torch.Generator) -> FrameIndices:
        if self.segments == 1:
            return random_clip(video_length, self.clip, generator)
        return segment_clips(video_length, self.clip, self.segments, generator)


def collate_train(items: Sequence[tuple[Clip | Views, int] | str]) -> TrainBatch:
    """Stack decoded clips; list the errors of the others."""
    good = [item for item in items if not isinstance(item, str)]
    failures = [item for item in items if isinstance(item, str)]
    clips = torch.stack([clip for clip, _ in good]) if good else torch.empty(0, dtype=torch.uint8)
    return TrainBatch(clips, torch.tensor([label for _, label in good], dtype=torch.int64), failures)


class EpochSampler(Sampler[ClipKey]):
    """The order of one epoch for one of several processes: a function of seed and epoch.

    Args:
        num_samples: Videos in the training list.
        batch_size: Needed only to skip whole batches when an epoch is resumed.
        weights: Drawing weights (with replacement) of the videos, to balance classes; left out, a plain permutation.
        rank: Index of this process.
        world_size: Number of processes; all get the same number of videos, up to `world_size - 1` are left out.
    """

    def __init__(
        self,
        num_samples: int,
        *,
        batch_size: int,
        seed: int,
        weights: Tensor | None = None,
        rank: int = 0,
        world_size: int = 1,
    ) -> None:
        self.num_samples = num_samples
        self.batch_size = batch_size
        self.seed = seed
        self.weights = weights
        self.rank = rank
        self.world_size = world_size
        self.epoch = 0
        self.skip_batches = 0

    def start(self, epoch: int, *, skip_batches: int = 0) -> None:
        """Set the epoch of the next iteration, and how many of its batches to skip."""
        self.epoch, self.skip_batches = epoch, skip_batches

    def __iter__(self) -> Iterator[ClipKey]:
        generator = seeded(self.seed, self.epoch, -1)
        if self.weights is None:
            order = torch.randperm(self.num_samples, generator=generator)
        else:
            order = torch.multinomial(self.weights, self.num_samples, replacement=True, generator=generator)
        mine = order[self.rank :: self.world_size][: self._share()]
        return iter([ClipKey(self.epoch, video) for video in mine[self.skip_batches * self.batch_size :].tolist()])

    def __len__(self) -> int:
        return max(0, self._share() - self.skip_batches * self.batch_size)

    def _share(self) -> int:
        return max(1, self.num_samples // self.world_size)


@dataclass(frozen=True, kw_only=True)
class ScoringClip:
    """One clip of a video for scoring, or the error that ended the video."""

    index: int
    """Position of the video in the list."""
    views: Views | None = None
    """(crops, C, T, H, W)."""
    frames: tuple[int, int] = (0, 0)
    """First and last frame of the clip."""
    fps: float = 0.0
    num_clips: int = 0
    """Number of clips of the video."""
    error: str = ""


class ScoringClips(IterableDataset[ScoringClip]):
    """All clips of all videos, each video read in one pass; worker k of n reads videos k, k + n, ..."""

    def __init__(
        self,
        samples: Sequence[Sample],
        *,
        clip: ClipSpec,
        pixels: PixelSpec,
        views: ViewSpec,
        open_video: OpenVideo,
    ) -> None:
        self.samples = samples
        self.clip = clip
        self.pixels = pixels
        self.views = views
        self.open_video = open_video

    def __iter__(self) -> Iterator[ScoringClip]:
        worker = get_worker_info()
        first, step = (0, 1) if worker is None else (worker.id, worker.num_workers)
        for index in range(first, len(self.samples), step):
            try:
                yield from self._clips(index)
            except DecodeError as error:
                yield ScoringClip(index=index, error=str(error))

    def _clips(self, index: int) -> Iterator[ScoringClip]:
        sample = self.samples[index]
        with self.open_video(sample.path) as video:
            first, last = frames_of(video, sample)
            clips = first + self._pick(last - first, sample)  # (N, T)
            for indices, crops in zip(clips, iter_clips(video, clips, self._crops), strict=True):
                yield ScoringClip(
                    index=index,
                    views=torch.stack(crops, dim=2),  # (crops, C, T, H, W)
                    frames=(int(indices.min()), int(indices.max())),
                    fps=video.fps,
                    num_clips=len(clips),
                )

    def _pick(self, video_length: int, sample: Sample) -> FrameIndices:
        if self.views.clips is not None:
            indices = uniform_clips(video_length, self.clip, self.views.clips)
        elif self.views.step is not None:
            indices = sliding_clips(video_length, self.clip, self.views.step)
        elif self.views.segments is not None:
            indices = segment_clips(video_length, self.clip, self.views.segments)
        else:
            indices = non_overlapping_clips(video_length, self.clip)
        name = zlib.crc32(os.fsencode(sample.path.name))  # the order depends on the file name only
        return _ordered(indices, self.clip, seeded(0, 0, name))

    def _crops(self, frames: Frames) -> tuple[Tensor, ...]:
        """The crops (crops, C, H, W) of each frame; the frame itself is not kept."""
        views = three_views(frames, self.pixels) if self.views.crops == 3 else centre_view(frames, self.pixels)[None]
        return views.unbind(dim=2)


class RngStream(IntEnum):
    """Random streams that are used once per run; used as `epoch` of `seeded`."""

    HELD_OUT_VIDEOS = -1
    HELD_OUT_PAIRS = -2
    FEW_LABELS = -3
    EXCHANGED_PAIRS = -4


def seeded(seed: int, epoch: int, index: int) -> torch.Generator:
    """A generator that is a function of these three numbers."""
    mixed = (seed * 1_000_003 + epoch) * 1_000_003 + index + 1
    return torch.Generator().manual_seed(mixed % 2**63)


def frames_of(video: VideoReader, sample: Sample) -> tuple[int, int]:
    """First frame of a sample, and the first frame after it.

    Raises:
        DecodeError: There is no frame between its start and end.
    """
    first, last = video.frame_range(sample.start_seconds, sample.end_seconds)
    if last <= first:
        raise DecodeError(
            f"{sample.path}: no frame lies between {sample.start_seconds} and {sample.end_seconds} seconds; "
            "correct them in the list"
        )
    return first, last


def _ordered(indices: FrameIndices, spec: ClipSpec, generator: torch.Generator) -> FrameIndices:
    return shuffle_frames(indices, generator) if spec.order == "shuffled" else indices
