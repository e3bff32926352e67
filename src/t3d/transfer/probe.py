"""Evaluate a frozen network: nearest neighbours and a linear classifier on its features of whole videos."""

from functools import partial

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int64
from torch import Tensor, nn

from t3d.data.clips import OpenVideo
from t3d.data.samples import VideoList
from t3d.errors import DataError
from t3d.inference.scorer import torch_scorer
from t3d.inference.scoring import score_videos
from t3d.models.checkpoints import ModelCard
from t3d.tensors import Features
from t3d.video.decode import open_video
from t3d.video.spec import ViewSpec

NUM_NEIGHBOURS = 5
L2_PENALTY = 1e-3
"""L2 penalty of the linear classifier on standardised features; not tuned."""


def probe_features(
    network: nn.Module,
    train: VideoList,
    test: VideoList,
    card: ModelCard,
    *,
    num_workers: int,
    source: OpenVideo = open_video,
) -> dict[str, float]:
    """Video top-1 of both probes, fitted on the features of the training videos and measured on the test videos.

    A test video that cannot be decoded counts as wrong; such training videos are left out.

    Args:
        network: In evaluation mode; returns features instead of scores.
        train: Labelled.
        test: Labelled.
        card: Frames and pixels.
        num_workers: Number of decoding processes.
        source: Opens a path.

    Raises:
        DataError: No video of one of the lists can be decoded.
    """
    describe = partial(_describe, network, card=card, num_workers=num_workers, source=source)
    (features, labels), (queries, answers) = describe(train), describe(test)
    total = len(test.samples)
    answers_of = {
        f"{NUM_NEIGHBOURS} nearest neighbours": nearest_neighbours(features, labels, queries),
        "linear": linear_probe(features, labels, queries, num_classes=len(train.labels)),
    }
    return {name: int((found == answers).sum()) / total for name, found in answers_of.items()}


def nearest_neighbours(features: Features, labels: Int64[Tensor, " B"], queries: Float[Tensor, "Q D"]) -> Tensor:
    """Labels (Q,) by a vote of the nearest training videos, weighted by their cosine similarity."""
    similarities = F.normalize(queries, dim=1) @ F.normalize(features, dim=1).T  # (Q, B)
    nearest = similarities.topk(min(NUM_NEIGHBOURS, len(features)), dim=1)
    votes = torch.zeros(len(queries), int(labels.max()) + 1)
    return votes.scatter_add_(1, labels[nearest.indices], nearest.values).argmax(dim=1)


def linear_probe(
    features: Features, labels: Int64[Tensor, " B"], queries: Float[Tensor, "Q D"], *, num_classes: int
) -> Tensor:
    """Labels (Q,) by multinomial logistic regression on standardised features, fitted to the optimum."""
    mean, deviation = features.mean(dim=0), features.std(dim=0, correction=0).clamp(min=1e-6)
    inputs = (features - mean) / deviation
    weights = torch.zeros(features.shape[1], num_classes, requires_grad=True)
    bias = torch.zeros(num_classes, requires_grad=True)
    optimizer = torch.optim.LBFGS([weights, bias], max_iter=200, line_search_fn="strong_wolfe")

    def loss() -> Tensor:
        optimizer.zero_grad()
        value = F.cross_entropy(inputs @ weights + bias, labels) + L2_PENALTY * weights.square().sum()
        value.backward()
        return value

    optimizer.step(loss)
    with torch.no_grad():
        return ((queries - mean) / deviation @ weights + bias).argmax(dim=1)


def _describe(
    network: nn.Module, videos: VideoList, *, card: ModelCard, num_workers: int, source: OpenVideo
) -> tuple[Features, Int64[Tensor, " B"]]:
    """Mean features of the clips of each decodable video, and its label."""
    found = [
        (video.scores, video.sample.label)
        for video in score_videos(
            torch_scorer(network, card.pixels),
            videos.samples,
            card=card,
            views=ViewSpec(),
            num_workers=num_workers,
            source=source,
            read=_unchanged,
        )
        if not video.error
    ]
    if not found:
        raise DataError(f"{videos.root}: none of the {len(videos.samples)} videos of {videos.split} can be decoded")
    return torch.stack([features for features, _ in found]), torch.tensor([label for _, label in found])


def _unchanged(features: Tensor) -> Tensor:
    return features
