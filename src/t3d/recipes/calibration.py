"""Clips a run was trained on: what int8 is fitted to, and what an export is compared on. Never of its test videos."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import torch
from torch import Tensor

from t3d.config import ExportConfig
from t3d.data.clips import ClipKey, TrainClips, seeded
from t3d.data.originals import Originals
from t3d.data.samples import VideoList
from t3d.engine.checkpoints import ModelCard
from t3d.errors import ConfigError, DataError
from t3d.recipes.console import counted
from t3d.recipes.datasets import find_videos
from t3d.recipes.sources import video_source
from t3d.video.spec import AugmentSpec


@dataclass(frozen=True, kw_only=True, eq=False)
class TrainingClips:
    """Clips of the training list, as bytes (N, C, T, H, W)."""

    whose: str
    compared: Tensor
    fitted: Tensor | None
    """Of other videos, where there are two or more."""
    apart: bool
    """Whether they are of other videos."""


def training_clips(config: ExportConfig, card: ModelCard, *, compared: int, fitted: int) -> TrainingClips:
    """Centre crops of clips that start anywhere, of as many videos as there are.

    Those to compare on are of videos set aside for it, for the clips of a short video are all alike. A video that
    cannot be decoded gives none.

    Args:
        config: The flags.
        card: How clips are cut and seen.
        compared: Clips to compare on.
        fitted: Clips to fit int8 to, or 0.

    Raises:
        ConfigError: Neither the weights nor the flags name a dataset.
        DataError: It is not there, holds test videos of the run, or none of its videos can be decoded.
    """
    videos = _find(config, card)
    clips = TrainClips(
        videos.samples,
        clip=card.clip,
        pixels=card.pixels,
        augment=AugmentSpec(crop="centre", flip_probability=0.0),
        open_video=video_source(card.pixels, backend=config.backend),
        seed=0,
    )
    order = torch.randperm(len(clips), generator=seeded(0, 0, 0)).tolist()
    aside = _num_aside(len(order), compared=compared, fitted=fitted)
    return TrainingClips(
        whose=f"{videos.root} ({videos.split})",
        compared=_draw(clips, order[:aside], range(compared)),
        fitted=_draw(clips, order[aside:] or order, range(compared, compared + fitted)) if fitted else None,
        apart=aside < len(order),
    )


def _num_aside(num_videos: int, *, compared: int, fitted: int) -> int:
    """Videos to compare on: their share is that of the clips, with one video at least for either, if there are two."""
    wanted = num_videos * compared // (compared + fitted)
    return max(1, min(wanted, num_videos - bool(fitted), compared))


def _draw(clips: TrainClips, videos: Sequence[int], numbers: Sequence[int]) -> Tensor:
    """Clips of videos in turn; a number stands for a start in its video, so that others are other clips if they can."""
    keys = [ClipKey(epoch=number // len(videos), video=videos[number % len(videos)]) for number in numbers]
    drawn = [clips[key] for key in counted(keys, "reading training clips", total=len(keys))]
    good = [item[0] for item in drawn if not isinstance(item, str)]
    if not good:
        raise DataError(f"none of {len(keys)} training clips can be decoded; repair the videos, first: {drawn[0]}")
    return torch.stack(good)


def _find(config: ExportConfig, card: ModelCard) -> VideoList:
    trained = card.training
    own = partial(
        find_videos, Path(trained.get("dataset", "")), split=trained.get("split", 1), format=trained.get("format")
    )
    if config.calibration is None:
        if "dataset" not in trained:
            raise ConfigError(f"{config.weights}: does not say which data it was trained on; give --calibration DATA")
        return own(subset="train")
    videos = find_videos(config.calibration, subset="train", split=trained.get("split", 1), format=None)
    if "dataset" in trained:
        _check_not_tested(videos, own)
    return videos


def _check_not_tested(videos: VideoList, own: Callable[..., VideoList]) -> None:
    """Refuse videos of the test list of the run, prepared or not, where that can be found."""
    try:
        test = own(subset="test")
    except DataError:  # the dataset is gone, or has no test list
        return
    originals = Originals()
    tested = {originals.of(sample.path.resolve()) for sample in test.samples}
    shared = [sample.name for sample in videos.samples if originals.of(sample.path.resolve()) in tested]
    if shared:
        raise DataError(
            f"{videos.root}: {len(shared)} of its training videos are test videos of the run, first {shared[0]}; "
            "int8 fitted to them would be judged on what it has seen; give others"
        )
