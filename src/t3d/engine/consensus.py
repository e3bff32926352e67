"""What several clips of a video say together: functions of logits. Which clips they are is not known here."""

import torch
from jaxtyping import Float
from torch import Tensor

from t3d.video.spec import SegmentSpec


def agree(logits: Float[Tensor, "*B N K"], spec: SegmentSpec) -> Float[Tensor, "*B K"]:
    """Combine the logits of N clips of a video, class by class.

    Where there are fewer clips than `spec.consensus_top`, all of them count.

    Source: Wang et al. 2016, arXiv:1608.00859, section 3.1 (segmental consensus: mean and max); top-k pooling is of
    their arXiv:1705.02953, where the k highest weigh alike. That the highest weighs most is our decision.
    """
    if spec.consensus == "mean":
        return logits.mean(dim=-2)
    if spec.consensus == "max":
        return logits.amax(dim=-2)
    count = min(spec.consensus_top, logits.shape[-2])
    weights = torch.arange(count, 0, -1, dtype=logits.dtype, device=logits.device)
    highest = logits.topk(count, dim=-2).values  # (B, count, K)
    return (highest * weights[:, None]).sum(dim=-2) / weights.sum()
