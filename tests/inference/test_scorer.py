from collections.abc import Callable

import torch
from torch import nn

from t3d.inference.scorer import torch_scorer
from t3d.video.spec import PixelSpec


def test_bytes_are_normalised_and_logits_are_plain_float32(toy_model: Callable[..., nn.Module]) -> None:
    """A network that is linear in the mean colour: that of a clip of byte b is (b / 255 - mean) / std."""
    pixels = PixelSpec(resize=8, crop_size=8, mean=(0.1, 0.2, 0.3), std=(0.5, 0.25, 0.125))
    model = toy_model()
    clips = torch.tensor([0, 51, 255], dtype=torch.uint8).view(3, 1, 1, 1, 1).expand(3, 3, 2, 8, 8)
    shares = torch.tensor([0.0, 0.2, 1.0]).view(3, 1)
    colours = (shares - torch.tensor([0.1, 0.2, 0.3])) / torch.tensor([0.5, 0.25, 0.125])
    with torch.autocast("cpu", torch.bfloat16):
        found = torch_scorer(model, pixels)(clips)
    assert found.dtype == torch.float32
    assert not found.requires_grad
    torch.testing.assert_close(found, model.classifier(colours).detach(), rtol=0.02, atol=0.05)
    torch.testing.assert_close(torch_scorer(model, pixels)(clips), model.classifier(colours).detach())
