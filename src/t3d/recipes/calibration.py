"""Clips a run was trained on: what int8 is fitted to, and what an export is compared on. Never of its test videos."""

from collections.abc import Callable
from functools import partial
from pathlib import Path

import torch

from t3d.config import ExportConfig
from t3d.data.clips import ClipKey, TrainClips, seeded
from t3d.data.samples import VideoList
from t3d.engine.checkpoints import ModelCard
from t3d.errors import ConfigError, DataError
from t3d.recipes.console import counted
from t3d.recipes.datasets import find_videos
from t3d.recipes.sources import video_source
from t3d.tensors import Views
from t3d.video.spec import AugmentSpec


def training_clips(config: ExportConfig, card: ModelCard, count: int) -> tuple[Views, str]:
    """Centre crops of clips that start anywhere, of as many videos as there are; also say whose they are.

    A video that cannot be decoded gives none.

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
    keys = [ClipKey(epoch=index // len(order), video=order[index % len(order)]) for index in range(count)]
    drawn = [clips[key] for key in counted(keys, "reading training clips", total=count)]
    good = [item[0] for item in drawn if not isinstance(item, str)]
    if not good:
        raise DataError(f"{videos.root}: none of {len(keys)} training clips can be decoded, first: {drawn[0]}")
    return torch.stack(good), f"{videos.root} ({videos.split})"


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
    """Refuse videos of the test list of the run, where that can be found."""
    try:
        test = own(subset="test")
    except DataError:  # the dataset is gone, or has no test list
        return
    tested = {sample.path.resolve() for sample in test.samples}
    shared = [sample.name for sample in videos.samples if sample.path.resolve() in tested]
    if shared:
        raise DataError(
            f"{videos.root}: {len(shared)} of its training videos are test videos of the run, first {shared[0]}; "
            "int8 fitted to them would be judged on what it has seen; give others"
        )
