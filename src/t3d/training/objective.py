"""The objective of `t3d train`: cross entropy of labelled clips, or of the consensus of several segments of a video."""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, field

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from t3d.data.clips import TrainBatch
from t3d.inference.scoring import aggregate_segments
from t3d.tensors import Logits, Views
from t3d.training.loop import LossOutput
from t3d.video.spec import PixelSpec, SegmentSpec
from t3d.video.transforms import normalise


@dataclass(frozen=True, kw_only=True)
class Classification:
    """Cross entropy; an `Objective`."""

    pixels: PixelSpec
    segments: SegmentSpec = field(default_factory=SegmentSpec)
    recompute_segments: bool = False
    """Process segments one by one and recompute their activations for the gradient, so that only one segment's are
    stored. Batch normalisation then sees one segment of each video at a time."""
    label_smoothing: float = 0.0
    class_weights: Tensor | None = None
    """Factors (K,) of the clips' losses, mean 1 over the training videos. The mean is over clips, not over weights, so
    that accumulated batches equal one large batch, and a batch of one class is still weighted."""
    accumulate: int = 1
    clip_norm: float | None = None
    skip_bad_videos: bool = False
    computing: Callable[[torch.device], AbstractContextManager[object]] = nullcontext
    """Context entered around every call of the network."""

    def compute_loss(self, model: nn.Module, batch: TrainBatch, device: torch.device) -> LossOutput:
        """Summed loss and number of correct answers of the clips (or videos, if these have several segments)."""
        clips = batch.clips.to(device, non_blocking=True)
        labels = batch.labels.to(device)
        logits = self._score_segments(model, clips) if self.segments.enabled else self._score(model, clips)
        weights = None if self.class_weights is None else self.class_weights.to(logits)
        loss = F.cross_entropy(logits, labels, weight=weights, label_smoothing=self.label_smoothing, reduction="sum")
        return LossOutput(loss, float((logits.argmax(dim=1) == labels).sum()))

    def _score(self, model: nn.Module, clips: Views) -> Logits:
        with self.computing(clips.device):
            logits: Logits = model(normalise(clips, self.pixels))
        return logits

    def _score_segments(self, model: nn.Module, clips: Tensor) -> Logits:
        """Consensus logits (B, K) of videos with N segments, clips (B, N, C, T, H, W)."""
        if self.recompute_segments:
            parts = [self._score_recomputing(model, part) for part in clips.unbind(dim=1)]
            return aggregate_segments(torch.stack(parts, dim=1), self.segments)
        logits = self._score(model, clips.flatten(0, 1))  # (B * N, K)
        return aggregate_segments(logits.unflatten(0, clips.shape[:2]), self.segments)

    def _score_recomputing(self, model: nn.Module, clips: Views) -> Logits:
        """The same logits; backward recomputes the activations, with the same dropout."""

        def contexts() -> tuple[AbstractContextManager[None], AbstractContextManager[None]]:
            return nullcontext(), _keep_statistics(model)

        logits: Logits = checkpoint(self._score, model, clips, use_reentrant=False, context_fn=contexts)
        return logits


@contextmanager
def _keep_statistics(model: nn.Module) -> Iterator[None]:
    """Keep batch normalisation in training mode, without updating its running statistics again."""
    norms = [m for m in model.modules() if isinstance(m, nn.BatchNorm1d | nn.BatchNorm2d | nn.BatchNorm3d)]
    before = [(norm.momentum, norm.num_batches_tracked) for norm in norms]
    for norm in norms:
        norm.momentum = None if norm.momentum is None else 0.0  # None is a cumulative mean
        norm.num_batches_tracked = None
    try:
        yield
    finally:
        for norm, (momentum, count) in zip(norms, before, strict=True):
            norm.momentum, norm.num_batches_tracked = momentum, count
