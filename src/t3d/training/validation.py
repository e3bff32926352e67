"""Validation between epochs on one centred clip per video (or segment): cheap, for selection and schedules."""

import math

import torch
from lightning_fabric import Fabric
from torch import Tensor, distributed, nn

from t3d.data.clips import OpenVideo
from t3d.data.samples import VideoList
from t3d.inference.scorer import torch_scorer
from t3d.inference.scoring import VideoScores, score_videos
from t3d.models.checkpoints import ModelCard
from t3d.training.learner import Learner
from t3d.video.decode import open_video
from t3d.video.spec import ViewSpec


class Validator:
    """Measure a learner on held-out videos, distributed over processes.

    Args:
        videos: Held-out videos.
        card: Frames, pixels, segments and labels.
        num_workers: Processes that decode; 0 decodes in this process.
        source: Opens a path.
    """

    def __init__(self, videos: VideoList, card: ModelCard, *, num_workers: int, source: OpenVideo = open_video) -> None:
        self.videos = videos
        self.card = card
        self.num_workers = num_workers
        self.source = source

    def __call__(self, learner: Learner) -> tuple[float, float]:
        """Mean negative log score of the label, and top-1; undecodable videos count as uniform scores and as wrong."""
        fabric = learner.fabric
        model = learner.result.eval()
        share_statistics(model, fabric)
        mine = self.videos.samples[fabric.global_rank :: fabric.world_size]
        with fabric.autocast():
            videos = score_videos(
                torch_scorer(model, self.card.pixels),
                mine,
                card=self.card,
                views=ViewSpec(segments=self.card.segments.segments),
                num_workers=self.num_workers,
                source=self.source,
            )
            figures = [_loss_and_top1(video, len(self.card.labels)) for video in videos]
        sums = torch.tensor([sum(column) for column in zip(*figures, strict=True)] or [0.0, 0.0], dtype=torch.float64)
        total = fabric.all_reduce(sums.to(fabric.device), reduce_op="sum")
        assert isinstance(total, Tensor)
        loss, top1 = (total / len(self.videos.samples)).tolist()
        return loss, top1


def share_statistics(model: nn.Module, fabric: Fabric) -> None:
    """Broadcast the BN statistics of the first process, which are the saved ones."""
    if fabric.world_size > 1:
        for buffer in model.buffers():
            distributed.broadcast(buffer, src=0)


def _loss_and_top1(video: VideoScores, num_classes: int) -> tuple[float, float]:
    if video.error:
        return math.log(num_classes), 0.0
    scores, label = video.scores, video.sample.label
    return -math.log(max(float(scores[label]), 1e-12)), float(int(scores.argmax()) == label)
