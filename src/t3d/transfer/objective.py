"""The objective of `t3d transfer`: do these frames and this clip match?"""

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int64
from lightning_fabric import Fabric
from torch import Tensor, nn
from torch.utils.data import DataLoader

from t3d.data.clips import ClipKey, RngStream
from t3d.errors import DataError
from t3d.system import ignore_interrupts
from t3d.tensors import Features
from t3d.training.learner import Learner
from t3d.training.loop import LossOutput
from t3d.training.validation import share_statistics
from t3d.transfer.pairs import LEFT_OUT, PairBatch, PairClips, collate_pairs
from t3d.transfer.teachers import FrozenTeacher
from t3d.video.spec import PixelSpec
from t3d.video.transforms import normalise
from t3d.workers import iterate

TEMPERATURE = 0.07
"""Temperature of the contrastive loss (van den Oord et al. 2018, arXiv:1807.03748; a common value)."""


@dataclass(frozen=True, kw_only=True)
class Matching:
    """Cross entropy of the pairs, with equal weight of matches and mismatches; an `Objective`.

    Source: Diba et al. 2017, arXiv:1711.08200, section 3.2. The paper does not state the ratio.
    """

    pixels: PixelSpec
    teacher: FrozenTeacher | None = None
    """Runs on the images of a batch; None if the batch contains its features."""
    in_batch: bool = True
    """Also pair each clip with the first teacher view of the next clip of another video in the batch."""
    contrastive: float = 0.0
    compiled: bool = False
    """The network is: it is not to be compiled anew for every number of pairs, which depends on the batch."""
    accumulate: int = 1
    clip_norm: float | None = None
    skip_bad_videos: bool = False
    computing: Callable[[torch.device], AbstractContextManager[object]] = nullcontext
    """Context entered around every call of the network."""

    def compute_loss(self, model: nn.Module, batch: PairBatch, device: torch.device) -> LossOutput:
        """Summed loss and number of correct answers of the clips; a clip counts by the fraction of its correct pairs.

        Raises:
            DataError: A training batch has a single clip left.
        """
        if model.training and batch.num_clips < 2:
            raise DataError(_why_alone(batch))
        clips = normalise(batch.clips.to(device, non_blocking=True), self.pixels)
        teacher_views = self._features(batch.teacher_views.to(device, non_blocking=True))
        pairs, matches = pairs_of(batch.matches, batch.videos, in_batch=self.in_batch)
        pairs, matches = pairs.to(device), matches.to(device)
        if self.compiled:
            torch._dynamo.mark_dynamic(pairs, 0)
        with self.computing(device):
            logits, motion, appearance = model(clips, teacher_views, pairs)
        weights = _balanced(matches, batch.num_clips)
        loss = (F.cross_entropy(logits, matches, reduction="none") * weights).sum()
        if self.contrastive:
            own = appearance[:: batch.matches.shape[1]]  # the first teacher view of each clip
            videos = batch.videos.to(device)
            loss = loss + self.contrastive * batch.num_clips * contrastive_loss(motion, own, videos)
        return LossOutput(loss, float(((logits.argmax(dim=1) == matches) * weights).sum()))

    def _features(self, teacher_views: Tensor) -> Features:
        """Teacher features (B * R, D) of the teacher views (B, R, ...)."""
        flat = teacher_views.flatten(0, 1)
        if self.teacher is None:
            return flat
        return torch.stack([self.teacher.describe(pictures) for pictures in flat])


def pairs_of(
    matches: Int64[Tensor, "B R"], videos: Int64[Tensor, " B"], *, in_batch: bool
) -> tuple[Int64[Tensor, "P 2"], Int64[Tensor, " P"]]:
    """List the pairs of a batch: row of the clip, row of the teacher view (clips * R), and whether they match.

    Two clips of one video never make a mismatch; a clip without a clip of another video in its batch makes none.

    Args:
        matches: For the teacher views of each clip.
        videos: Number of each clip's video.
        in_batch: Add a mismatch with the first teacher view of the next clip of another video.
    """
    num_clips, num_views = matches.shape
    rows = torch.arange(num_clips)
    given = torch.stack([rows.repeat_interleave(num_views), torch.arange(num_clips * num_views)], dim=1)
    keep = matches.flatten() != LEFT_OUT
    pairs, answers = given[keep], matches.flatten()[keep]
    if in_batch:
        partners = _next_of_another_video(videos)
        alone = partners < 0
        mismatches = torch.stack([rows, partners * num_views], dim=1)[~alone]
        pairs = torch.cat([pairs, mismatches])
        answers = torch.cat([answers, torch.zeros(len(mismatches), dtype=torch.int64)])
    return pairs, answers


def contrastive_loss(
    motion: Float[Tensor, "B E"], appearance: Float[Tensor, "B E"], videos: Int64[Tensor, " B"]
) -> Float[Tensor, ""]:
    """Symmetric contrastive loss: cross entropy of clip to view and of view to clip over the batch.

    Other clips of the same video are masked. Source: Radford et al. 2021, arXiv:2103.00020, section 2.3.
    """
    similarities = F.normalize(motion, dim=1) @ F.normalize(appearance, dim=1).T / TEMPERATURE  # (B, B)
    same = (videos[:, None] == videos[None, :]) & ~torch.eye(len(videos), dtype=torch.bool, device=videos.device)
    similarities = similarities.masked_fill(same, float("-inf"))
    own = torch.arange(len(videos), device=motion.device)
    return (F.cross_entropy(similarities, own) + F.cross_entropy(similarities.T, own)) / 2


class MatchingValidator:
    """Matching on held-out videos: each place with its own view and with one of another video, drawn once.

    Args:
        pairs: Held-out places with both teacher views, augmented as in training.
        objective: Computes loss and correct answers.
        batch_size: Places of a batch.
        num_workers: Processes that decode.
    """

    def __init__(self, pairs: PairClips, objective: Matching, *, batch_size: int, num_workers: int) -> None:
        self.pairs = pairs
        self.objective = objective
        self.batch_size = batch_size
        self.num_workers = num_workers

    @torch.no_grad()
    def __call__(self, learner: Learner) -> tuple[float, float]:
        """Mean loss and accuracy over all processes; undecodable clips are left out."""
        fabric = learner.fabric
        network = learner.result.eval()
        share_statistics(network, fabric)
        sums = torch.zeros(3, dtype=torch.float64)
        with fabric.autocast():
            for batch in iterate(self._batches(fabric)):
                if batch.num_clips:
                    output = self.objective.compute_loss(network, batch, fabric.device)
                    sums += torch.tensor([output.loss.item(), output.num_correct, batch.num_clips])
        total = fabric.all_reduce(sums.to(fabric.device), reduce_op="sum")
        assert isinstance(total, Tensor)
        loss, right, count = total.tolist()
        return loss / max(1, count), right / max(1, count)

    def _batches(self, fabric: Fabric) -> "DataLoader[Any]":
        mine = range(fabric.global_rank, len(self.pairs), fabric.world_size)
        return DataLoader(
            self.pairs,
            batch_size=self.batch_size,
            sampler=[ClipKey(RngStream.HELD_OUT_PAIRS, index) for index in mine],
            num_workers=min(self.num_workers, len(mine) // 2),
            collate_fn=collate_pairs,
            worker_init_fn=ignore_interrupts,
        )


def _why_alone(batch: PairBatch) -> str:
    if batch.failures:
        return f"all videos of a batch but one cannot be decoded, first: {batch.failures[0]}"
    return "a single clip has nothing to be told apart from; give more videos, or fewer --devices"


def _balanced(matches: Int64[Tensor, " P"], num_clips: int) -> Float[Tensor, " P"]:
    """Weights that sum to the number of clips, half of it for matches if both kinds occur."""
    counts = torch.bincount(matches, minlength=2)
    kinds = int((counts > 0).sum())
    return (num_clips / kinds / counts.clamp(min=1))[matches]


def _next_of_another_video(videos: Int64[Tensor, " B"]) -> Int64[Tensor, " B"]:
    """Index of the next row (cyclic) of another video for each row; -1 if there is none."""
    rows = torch.arange(len(videos))
    distances = (rows[None, :] - rows[:, None]) % len(videos)
    distances = distances.masked_fill(videos[:, None] == videos[None, :], len(videos))
    nearest, partners = distances.min(dim=1)
    return torch.where(nearest < len(videos), partners, -1)
