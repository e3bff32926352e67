"""Score clips with a network of PyTorch where it is: bytes in, logits out."""

import torch
from torch import nn

from t3d.engine.convolutions import Rerouted, by_onednn
from t3d.inference.backends.base import Scorer
from t3d.models.folding import folded
from t3d.models.network import Network
from t3d.models.static_halving import make_static
from t3d.tensors import Logits, Views
from t3d.video.spec import PixelSpec
from t3d.video.transforms import normalise


def prepare(network: nn.Module, *, static: bool = False, smooth_kernels: bool = False) -> Network:
    """A copy that computes the same with fewer operations, for inference only.

    Args:
        network: Stays as it is.
        static: Of operations that graphs can hold.
        smooth_kernels: Average kernels instead of maps; see `t3d.models.static_halving`. Of a static one only.
    """
    assert isinstance(network, Network)
    ready = folded(network)
    if static:
        make_static(ready.cpu(), smooth_kernels=smooth_kernels)
    return ready


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
