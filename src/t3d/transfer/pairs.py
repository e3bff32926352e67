"""Pairs of clips and teacher views, matching or not, as a torch dataset.

A teacher view of a clip is the teacher's input (images of its frames) or the averaged features. Each random choice is a
function of (seed, epoch, index), as in `t3d.data.clips`.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple

import torch
from jaxtyping import UInt8
from torch import Tensor
from torch.utils.data import Dataset

from t3d.data.clips import ClipKey, OpenVideo, frames_of, seeded
from t3d.data.samples import Sample
from t3d.errors import DecodeError
from t3d.tensors import Clip, Frames
from t3d.transfer.windows import picture_positions, window_frames
from t3d.video.reader import VideoReader
from t3d.video.sampling import random_clip, shuffle_frames
from t3d.video.spec import AugmentSpec, ClipSpec, PixelSpec
from t3d.video.transforms import train_view

Draw = Literal["own", "independent", "both"]
"""Teacher views that come with a clip: its own; its own or one of another video in turn; both."""

Pictures = UInt8[Tensor, "C X height width"]
"""Images for the teacher, in its own size."""

LEFT_OUT = -1
"""Value in `PairBatch.matches` of a teacher view that is not used, because there was none of its kind."""


@dataclass(frozen=True, kw_only=True)
class Place:
    """A position in a video to train on."""

    sample: Sample
    start: int | None = None
    """First frame of its only clip; None takes clips anywhere."""


class Pair(NamedTuple):
    """A clip, teacher views of it or of other clips, and which of them match."""

    clip: Clip
    teacher_views: Tensor
    """(R, D) features, or (R, C, X, H, W) pictures, uint8."""
    matches: Tensor
    """(R,): 1 for the clip's own teacher view, 0 for another's, else `LEFT_OUT`."""
    video: int
    """Equal for clips of one group."""


class PairBatch(NamedTuple):
    """B clips with R teacher views each."""

    clips: Tensor
    teacher_views: Tensor
    matches: Tensor
    videos: Tensor
    failures: list[str]

    @property
    def num_clips(self) -> int:
        """B."""
        return len(self.videos)


@dataclass(frozen=True, kw_only=True)
class LivePictures:
    """Cropping of a live teacher's images: random crops, as in the paper."""

    pixels: PixelSpec
    num_pictures: int


class PairClips(Dataset[Pair | str]):
    """A clip of a place and its teacher views; the text of the error if a video cannot be decoded.

    Args:
        places: Positions of clips, those of one group adjacent.
        teacher_views: Features (places, D) of the teacher, or how to crop images for it.
        draw: Which teacher views come with a clip.
        hard: Add a teacher view at another time of the same video.
        clip: Frames of a clip; `order` applies to the student only.
        pixels: Preprocessing of the student.
        augment: Augmentation of the student's clips.
        open_video: Opens a path.
        seed: Of every choice.
    """

    def __init__(
        self,
        places: Sequence[Place],
        teacher_views: Tensor | LivePictures,
        *,
        draw: Draw,
        hard: bool = False,
        clip: ClipSpec,
        pixels: PixelSpec,
        augment: AugmentSpec,
        open_video: OpenVideo,
        seed: int,
    ) -> None:
        self.places = places
        self.teacher_views = teacher_views
        self.draw = draw
        self.hard = hard
        self.clip = clip
        self.pixels = pixels
        self.augment = augment
        self.open_video = open_video
        self.seed = seed
        self.videos, self.ranges = _number_groups(places)

    def __len__(self) -> int:
        return len(self.places)

    def __getitem__(self, key: ClipKey) -> Pair | str:
        generator = seeded(self.seed, key.epoch, key.video)
        try:
            frames, start = self._read(self.places[key.video], generator)
            views, matches = self._draw_views(key, frames, start, generator)
        except DecodeError as error:
            return str(error)
        if self.clip.order == "shuffled":
            frames = frames[shuffle_frames(torch.arange(len(frames))[None], generator)[0]]
        clip = train_view(frames, self.pixels, self.augment, generator)
        return Pair(clip, torch.stack(views), torch.tensor(matches), self.videos[key.video])

    def _draw_views(
        self, key: ClipKey, frames: Frames, start: int, generator: torch.Generator
    ) -> tuple[list[Tensor], list[int]]:
        own = self._view_of(key.video, frames, generator)
        is_match = self.draw != "independent" or (key.video + key.epoch) % 2 == 0  # in turn, so half of them
        views, matches = ([own], [1]) if is_match else ([self._view_of_another_video(key.video, generator)], [0])
        if self.draw == "both":
            views, matches = [*views, self._view_of_another_video(key.video, generator)], [*matches, 0]
        if self.hard:
            other = self._view_of_another_time(key.video, start, generator)
            views, matches = [*views, own if other is None else other], [*matches, LEFT_OUT if other is None else 0]
        return views, matches

    def _view_of(self, index: int, frames: Frames | None, generator: torch.Generator) -> Tensor:
        """The teacher view of a place, from frames if they are already decoded."""
        if isinstance(self.teacher_views, Tensor):
            return self.teacher_views[index]
        if frames is None:
            frames, _ = self._read(self.places[index], generator)
        return self._pictures(frames, self.teacher_views, generator)

    def _pictures(self, frames: Frames, live: LivePictures, generator: torch.Generator) -> Pictures:
        chosen = frames[picture_positions(len(frames), live.num_pictures)]
        return train_view(chosen, live.pixels, AugmentSpec(crop="random"), generator)

    def _view_of_another_video(self, index: int, generator: torch.Generator) -> Tensor:
        """A teacher view of a place of any other group."""
        first, last = self.ranges[self.videos[index]]
        draw = int(torch.randint(len(self.places) - (last - first), (1,), generator=generator))
        return self._view_of(draw if draw < first else draw + last - first, None, generator)

    def _view_of_another_time(self, index: int, start: int, generator: torch.Generator) -> Tensor | None:
        """A teacher view of the same video without common frames with the clip; None if the video is too short."""
        if isinstance(self.teacher_views, Tensor):
            name = self.places[index].sample.name
            others = [other for other in self._neighbours(index) if self.places[other].sample.name == name]
            if not others:
                return None
            return self.teacher_views[others[int(torch.randint(len(others), (1,), generator=generator))]]
        sample = self.places[index].sample
        with self.open_video(sample.path) as video:
            first, last = frames_of(video, sample)
            starts = [
                other for other in range(first, last - self.clip.span + 1) if abs(other - start) >= self.clip.span
            ]
            if not starts:
                return None
            chosen = starts[int(torch.randint(len(starts), (1,), generator=generator))]
            return self._pictures(video.frames(window_frames(chosen, last, self.clip)), self.teacher_views, generator)

    def _neighbours(self, index: int) -> list[int]:
        return [other for other in range(*self.ranges[self.videos[index]]) if other != index]

    def _read(self, place: Place, generator: torch.Generator) -> tuple[Frames, int]:
        """The frames of a clip of a place, and the first one's number."""
        with self.open_video(place.sample.path) as video:
            indices = self._indices(video, place, generator)
            return video.frames(indices), int(indices[0])

    def _indices(self, video: VideoReader, place: Place, generator: torch.Generator) -> Tensor:
        first, last = frames_of(video, place.sample)
        if place.start is not None:
            return window_frames(place.start, last, self.clip)
        return first + random_clip(last - first, self.clip, generator)[0]


def collate_pairs(items: Sequence[Pair | str]) -> PairBatch:
    """Stack decoded items; list the errors of the others."""
    good = [item for item in items if not isinstance(item, str)]
    failures = [item for item in items if isinstance(item, str)]
    if not good:
        nothing = torch.empty(0)
        return PairBatch(nothing, nothing, nothing, nothing, failures)
    clips, views, matches, videos = zip(*good, strict=True)
    return PairBatch(
        torch.stack(clips), torch.stack(views), torch.stack(matches), torch.tensor(videos, dtype=torch.int64), failures
    )


def _number_groups(places: Sequence[Place]) -> tuple[list[int], list[tuple[int, int]]]:
    """The number of each place's group, and the first place of each group with the first after it."""
    numbers: dict[str, int] = {}
    videos = [numbers.setdefault(place.sample.group, len(numbers)) for place in places]
    assert videos == sorted(videos)  # places of one group are adjacent
    firsts = [index for index, number in enumerate(videos) if index == 0 or videos[index - 1] != number]
    return videos, list(zip(firsts, [*firsts[1:], len(places)], strict=True))
