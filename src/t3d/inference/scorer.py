"""Score uint8 clips with a PyTorch network."""

import torch
from torch import nn

from t3d.inference.backends.base import Scorer
from t3d.models.fast.convolutions import Conv3dOverride, conv3d_by_onednn
from t3d.tensors import Logits, Views
from t3d.video.spec import PixelSpec
from t3d.video.transforms import normalise


def torch_scorer(model: nn.Module, pixels: PixelSpec) -> Scorer:
    """Make a scorer from a network, on its device.

    Args:
        model: In evaluation mode; may be wrapped for mixed precision.
        pixels: Normalisation, computed on the device.
    """

    @torch.inference_mode()
    def score(clips: Views) -> Logits:
        device = next(model.parameters()).device
        if device.type == "cuda":
            clips = clips.pin_memory()  # otherwise the copy would wait for all queued work of the device
        with Conv3dOverride(conv3d_by_onednn):
            return model(normalise(clips.to(device, non_blocking=True), pixels)).float()

    return score
