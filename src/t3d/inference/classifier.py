"""A trained network with its labels and preprocessing, returned by `t3d.load`."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from t3d.data.clips import OpenVideo
from t3d.data.samples import Sample
from t3d.errors import ConfigError, DecodeError
from t3d.inference.backends.base import Scorer
from t3d.inference.open import open_model
from t3d.inference.scoring import VideoScores, score_videos
from t3d.models.checkpoints import ModelCard
from t3d.video.decode import VideoReader, open_video
from t3d.video.optical_flow import seen
from t3d.video.reader import ArrayVideo
from t3d.video.spec import PixelSpec, ViewSpec


@dataclass(frozen=True, kw_only=True)
class Prediction:
    """Prediction for one video."""

    video: str
    labels: tuple[str, ...]
    """Class names, highest score first."""
    scores: tuple[float, ...]
    """Their softmax scores: the mean over all views, or the softmax of the consensus of segments."""
    num_clips: int
    error: str = ""

    def top(self, count: int) -> list[tuple[str, float]]:
        """The classes with the highest scores, and these."""
        return list(zip(self.labels[:count], self.scores[:count], strict=True))


class Classifier:
    """Classify videos; scores equal those of `t3d evaluate` up to rounding."""

    def __init__(self, scorer: Scorer, card: ModelCard) -> None:
        self.scorer = scorer
        self.card = card

    @property
    def labels(self) -> tuple[str, ...]:
        """Class names, in the order of the network's outputs."""
        return self.card.labels

    def predict(self, video: Path | str | Tensor | NDArray[np.uint8], *, views: ViewSpec | None = None) -> Prediction:
        """Score one video file, or frames (T, H, W, 3) uint8 as an array or tensor.

        Raises:
            DecodeError: The file cannot be decoded.
        """
        pixels = self.card.pixels
        if isinstance(video, str | Path):
            scored = self.score([as_sample(Path(video))], views=views)
        else:
            scored = self.score(
                [as_sample(Path("array"))], views=views, source=lambda path: seen(ArrayVideo(video), pixels)
            )
        result = as_prediction(next(iter(scored)), self.labels)
        if result.error:
            raise DecodeError(result.error)
        return result

    def score(
        self,
        samples: Sequence[Sample],
        *,
        views: ViewSpec | None = None,
        num_workers: int = 0,
        source: OpenVideo | None = None,
    ) -> Iterator[VideoScores]:
        """Score videos one after the other, clip by clip."""
        return score_videos(
            self.scorer,
            samples,
            card=self.card,
            views=views or ViewSpec(),
            num_workers=num_workers,
            source=source or partial(_open, pixels=self.card.pixels),
        )


def _open(path: Path, *, pixels: PixelSpec) -> VideoReader:
    return seen(open_video(path), pixels)


def load(run: Path | str, *, device: str | torch.device | None = None, engine: str = "auto") -> Classifier:
    """Load a trained network from a run folder, a weights file or an exported file.

    Args:
        run: Folder of `t3d train --output`, a `weights.safetensors`, or an exported file.
        device: By default CUDA if available. Engines other than PyTorch support the CPU only.
        engine: See `t3d.inference.open.open_model`.

    Raises:
        CheckpointError: The file is missing or damaged.
        ConfigError: The engine is unknown, not installed, or does not fit this file or device.
    """
    model = open_model(Path(run), engine=engine)
    if not model.cpu_only:
        device = device or ("cuda" if torch.cuda.is_available() else "cpu")
    elif torch.device(device or "cpu").type != "cpu":
        raise ConfigError(f"{run}: {model.engine} computes on the CPU; leave out device={device!r}")
    return Classifier(model.start(torch.device(device or "cpu")), model.card)


def predict(
    run: Path | str, video: Path | str | Tensor | NDArray[np.uint8], *, views: ViewSpec | None = None
) -> Prediction:
    """Load a trained network and score one video; see `Classifier.predict`."""
    return load(run).predict(video, views=views)


def as_sample(path: Path) -> Sample:
    """An unlabelled sample of a file or array."""
    return Sample(name=str(path), path=path, label=-1, group=str(path))


def as_prediction(video: VideoScores, labels: Sequence[str]) -> Prediction:
    """Sort the classes of a scored video by score."""
    if video.error:
        return Prediction(video=video.sample.name, labels=(), scores=(), num_clips=0, error=video.error)
    scores = video.scores.tolist()
    order = sorted(range(len(scores)), key=lambda index: -scores[index])
    return Prediction(
        video=video.sample.name,
        labels=tuple(labels[index] for index in order),
        scores=tuple(scores[index] for index in order),
        num_clips=video.num_clips,
    )
