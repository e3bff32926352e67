"""Naming the class of a clip: cross entropy on labelled batches. How an update is made of it is the loop's business."""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from t3d.data.clips import TrainBatch
from t3d.engine.loop import Outcome
from t3d.video.spec import PixelSpec
from t3d.video.transforms import normalise


@dataclass(frozen=True, kw_only=True)
class Classification:
    """Cross entropy; an `Objective`."""

    pixels: PixelSpec
    label_smoothing: float = 0.0
    class_weights: Tensor | None = None
    """Factors (K,) of the clips' losses, mean 1 over the training videos. The mean is over clips, not over weights, so
    that the parts of an accumulated update add up to the whole one and a batch of one class is still weighed."""
    accumulate: int = 1
    clip_norm: float | None = None
    skip_bad_videos: bool = False

    def judge(self, model: nn.Module, batch: TrainBatch, device: torch.device) -> Outcome:
        """Summed loss of the clips, and how many got their label."""
        clips = normalise(batch.clips.to(device, non_blocking=True), self.pixels)
        labels = batch.labels.to(device)
        logits = model(clips)
        weights = None if self.class_weights is None else self.class_weights.to(logits)
        loss = F.cross_entropy(logits, labels, weight=weights, label_smoothing=self.label_smoothing, reduction="sum")
        return Outcome(loss, float((logits.argmax(dim=1) == labels).sum()))
