"""A network as a graph that eats bytes, with any number of clips: what every backend translates."""

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
    """A network behind its own normalisation, so that nobody who uses the graph can get that wrong."""

    def __init__(self, network: nn.Module, pixels: PixelSpec) -> None:
        super().__init__()
        self.network = network
        self.pixels = pixels

    def forward(self, clips: Views) -> Logits:
        """Map bytes (B, C, T, H, W) to (B, K)."""
        return self.network(normalise(clips, self.pixels))


def capture(network: nn.Module, card: ModelCard, *, smooth_kernels: bool = False) -> ExportedProgram:
    """Record what a network computes of clips of its card, on the CPU, in float32, for inference.

    Args:
        network: As the card describes it; stays as it is.
        card: Frames, crop and normalisation.
        smooth_kernels: Average kernels instead of maps; see `prepare_for_inference`.
    """
    ready = prepare_for_inference(network, for_export=True, smooth_kernels=smooth_kernels).cpu()
    example = torch.zeros(2, *clip_shape(card), dtype=torch.uint8)  # of one clip, B would be taken for fixed
    with torch.no_grad():
        return export(OnBytes(ready, card.pixels), (example,), dynamic_shapes=({0: Dim("batch")},))


def clip_shape(card: ModelCard) -> tuple[int, int, int, int]:
    """Channels, frames, height and width of a clip."""
    return card.pixels.channels, card.clip.num_frames, card.pixels.crop_size, card.pixels.crop_size
