"""Make any network a teacher: a function without arguments that returns a `FrozenTeacher`.

    t3d transfer MY_VIDEOS --output RUN_FOLDER --teacher examples/own_teacher.py:residual

A network of somebody else needs three things said: how wide its features are, how its pictures are prepared, and a
name, which is part of what cached features are filed under. With the package timm installed, DINO and CLIP are

    def dino():
        network = timm.create_model("vit_small_patch16_224.dino", pretrained=True, num_classes=0)
        pixels = PixelSpec(mean=(0.485, 0.456, 0.406), std=(0.229, 0.224, 0.225))
        return FrozenTeacher(network, name="dino_small", num_features=384, pixels=pixels)

    def clip():
        network = timm.create_model("vit_base_patch32_clip_224.openai", pretrained=True, num_classes=0)
        pixels = PixelSpec(mean=(0.481, 0.458, 0.408), std=(0.269, 0.261, 0.276))
        return FrozenTeacher(network, name="clip_base", num_features=768, pixels=pixels)

and through torch.hub, `torch.hub.load("facebookresearch/dinov2", "dinov2_vits14")`, 384 wide. `residual` below needs no
network: it reads its weights from a file beside this script if there is one, and stays random, but always the same,
if there is none. Random features are a control, too: what is learnt from them was not learnt from labelled pictures.
"""

from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from t3d.models.pretrained.files import load_tensors, read_tensors
from t3d.transfer.teachers import FrozenTeacher
from t3d.video.spec import PixelSpec

WEIGHTS = Path(__file__).with_name("residual.safetensors")
WIDTHS = (32, 64, 128, 256)


class Block(nn.Module):
    """Two convolutions around a shortcut; the first halves height and width."""

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__()
        self.first = nn.Conv2d(in_channels, out_channels, 3, stride=2, padding=1, bias=False)
        self.second = nn.Conv2d(out_channels, out_channels, 3, padding=1, bias=False)
        self.shortcut = nn.Conv2d(in_channels, out_channels, 1, stride=2, bias=False)
        self.norms = nn.ModuleList(nn.BatchNorm2d(out_channels) for _ in range(3))

    def forward(self, features: Tensor) -> Tensor:
        """Map (B, C, H, W) to (B, out_channels, H / 2, W / 2)."""
        changed = self.norms[1](self.second(F.relu(self.norms[0](self.first(features)))))
        return F.relu(changed + self.norms[2](self.shortcut(features)))


def residual() -> FrozenTeacher:
    network = nn.Sequential(*(Block(before, after) for before, after in zip((3, *WIDTHS[:-1]), WIDTHS, strict=True)))
    generator = torch.Generator().manual_seed(0)
    for module in network.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight, generator=generator)
    if WEIGHTS.exists():
        load_tensors(network, read_tensors(WEIGHTS), str(WEIGHTS))
    pixels = PixelSpec(resize=128, crop_size=112)
    return FrozenTeacher(network, name="residual", num_features=WIDTHS[-1], pixels=pixels)  # its last map is averaged
