"""What scores clips: bytes in, logits out. PyTorch here; other engines are in `t3d.inference.backends`."""

from collections.abc import Callable

import torch
from torch import nn

from t3d.engine.convolutions import Rerouted, by_onednn
from t3d.tensors import Logits, Views
from t3d.video.spec import PixelSpec
from t3d.video.transforms import normalise

Scorer = Callable[[Views], Logits]
"""Clips (N, C, T, H, W), 0..255, on the CPU, to what the network makes of them (N, K): float32, on any device."""


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
        with Rerouted(by_onednn):
            return model(normalise(clips.to(device, non_blocking=True), pixels)).float()

    return score
