"""Score clips with a network of PyTorch where it is: bytes in, logits out."""

import torch
from torch import nn

from t3d.inference.backends.base import Scorer
from t3d.models.fast.convolutions import Conv3dOverride, conv3d_by_onednn
from t3d.tensors import Logits, Views
from t3d.video.spec import PixelSpec
from t3d.video.transforms import normalise


def torch_scorer(model: nn.Module, pixels: PixelSpec) -> Scorer:
    """Score with a network where it is.

    Args:
        model: In evaluation mode; it stays on its device, and may be wrapped for mixed precision.
        pixels: How its input is normalised, there.
    """

    @torch.inference_mode()
    def score(clips: Views) -> Logits:
        device = next(model.parameters()).device
        if device.type == "cuda":
            clips = clips.pin_memory()  # or the copy would wait for all that the device has to do before
        with Conv3dOverride(conv3d_by_onednn):
            return model(normalise(clips.to(device, non_blocking=True), pixels)).float()

    return score
