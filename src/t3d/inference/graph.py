"""Capture a network as a graph from uint8 clips to logits, with any batch size, for all backends."""

import torch
from torch import nn
from torch.export import Dim, ExportedProgram, export

from t3d.models import prepare_for_inference
from t3d.models.checkpoints import ModelCard
from t3d.tensors import Logits, Views
from t3d.video.spec import PixelSpec
from t3d.video.transforms import normalise

INPUT = "clips"
"""Name of the graph's input, uint8 (B, C, T, H, W)."""


class OnBytes(nn.Module):
    """A network with its normalisation, so that users of the graph cannot get it wrong."""

    def __init__(self, network: nn.Module, pixels: PixelSpec) -> None:
        super().__init__()
        self.network = network
        self.pixels = pixels

    def forward(self, clips: Views) -> Logits:
        """Map uint8 clips (B, C, T, H, W) to logits (B, K)."""
        return self.network(normalise(clips, self.pixels))


def capture(network: nn.Module, card: ModelCard, *, smooth_kernels: bool = False) -> ExportedProgram:
    """Capture the forward pass of a network on clips of its card, on the CPU, in float32, for inference.

    Args:
        network: As the card describes it; not modified.
        card: Frames, crop and normalisation.
        smooth_kernels: Average kernels instead of maps; see `prepare_for_inference`.
    """
    ready = prepare_for_inference(network, for_export=True, smooth_kernels=smooth_kernels).cpu()
    example = torch.zeros(2, *clip_shape(card), dtype=torch.uint8)  # with one clip, B would be specialised to 1
    with torch.no_grad():
        return export(OnBytes(ready, card.pixels), (example,), dynamic_shapes=({0: Dim("batch")},))


def clip_shape(card: ModelCard) -> tuple[int, int, int, int]:
    """Channels, frames, height and width of a clip of the card."""
    return card.pixels.channels, card.clip.num_frames, card.pixels.crop_size, card.pixels.crop_size
