"""Data of a transfer: clips with cached or live teacher views; and student with matcher."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from t3d.data.clips import RngStream, seeded
from t3d.data.samples import Sample, VideoList
from t3d.errors import DataError, DecodeError
from t3d.transfer.matcher import Matcher, MatchingNetwork
from t3d.transfer.pairs import PairClips, Place
from t3d.transfer.teacher_cache import TeacherCache, identity_of

STATISTICS = "colour_statistics"
"""Name of the control that replaces teacher and student by mean and standard deviation of each colour."""


@dataclass(frozen=True, kw_only=True)
class TransferData:
    """Clips with their teacher views, and the videos that could not be decoded."""

    train: PairClips
    held_out: PairClips
    skipped: list[str]


def match_with(student: nn.Module, *, teacher_features: int, matcher_norm: bool) -> MatchingNetwork:
    """A student with a fresh matcher for teacher features of this width."""
    matcher = Matcher(
        student_features=int(student.num_features),  # type: ignore[arg-type]
        teacher_features=teacher_features,
        normalise=matcher_norm,
    )
    return MatchingNetwork(student, matcher)


def live_places(videos: VideoList) -> list[Place]:
    """One place per video; every epoch takes another clip of it."""
    return [Place(sample=sample) for sample in _by_group(videos.samples)]


def cached_places(cache: TeacherCache, videos: VideoList, *, skipped: Sequence[str]) -> tuple[list[Place], Tensor]:
    """The places of all windows in the cache, and their features (places, D).

    Args:
        cache: Filled cache.
        videos: Those without features in the cache are left out.
        skipped: Reasons why features are missing, for the message.

    Raises:
        DataError: Fewer than two groups are left.
    """
    places: list[Place] = []
    features = []
    for sample in _by_group(videos.samples):
        try:
            video = cache.get(identity_of(sample))
        except DecodeError:  # reported when the cache was filled
            continue
        if video is not None:
            places.extend(Place(sample=sample, start=start) for start in video.starts)
            features.append(video.features)
    num_groups = len({place.sample.group for place in places})
    if num_groups < 2:
        broken = "; ".join(skipped[:3]) or "none"
        raise DataError(
            f"{videos.root}: {num_groups} groups are left on one side of the hold-out, and 2 are needed; add videos or "
            f"raise --holdout-fraction (videos that cannot be decoded: {broken})"
        )
    return places, torch.cat(features)


def exchange(places: Sequence[Place], seed: int) -> Tensor:
    """A permutation for the control: each place gets the view of a place of another group, if there are enough."""
    members: dict[str, list[int]] = {}
    for index, place in enumerate(places):
        members.setdefault(place.sample.group, []).append(index)
    groups = list(members.values())
    shuffled = torch.randperm(len(groups), generator=seeded(seed, RngStream.EXCHANGED_PAIRS, 0)).tolist()
    order = torch.tensor([index for number in shuffled for index in groups[number]])
    exchanged = torch.empty_like(order)
    exchanged[order] = order.roll(max(map(len, groups)))
    return exchanged


def _by_group(samples: Sequence[Sample]) -> list[Sample]:
    return sorted(samples, key=lambda sample: sample.group)
