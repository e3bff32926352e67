"""The composite every convolution of a DenseNet after the stem is: normalise, rectify, convolve. No pooling here."""

import torch.nn.functional as F
from torch import Tensor, nn


class NormReluConv(nn.Module):
    """BN, ReLU, then a convolution of stride 1 without bias that keeps T, H and W.

    An even kernel in time looks one plane further ahead than back: (d - 1) // 2 zeros before, d // 2 after. No source
    states that side; it is this project's decision.

    Args:
        kernel: Size in (T, H, W); H and W odd.

    Source: Diba et al. 2017, arXiv:1711.08200, section 3.1.
    """

    def __init__(self, in_channels: int, out_channels: int, *, kernel: tuple[int, int, int] = (1, 1, 1)) -> None:
        super().__init__()
        depth, height, width = kernel
        before = ((depth - 1) // 2, height // 2, width // 2)
        self.norm = nn.BatchNorm3d(in_channels)
        self.conv = nn.Conv3d(in_channels, out_channels, kernel, bias=False, padding=before)
        self.extra_planes = (depth + 1) % 2

    def forward(self, features: Tensor) -> Tensor:
        """Map (B, C, T, H, W) to (B, out_channels, T, H, W)."""
        features = F.relu(self.norm(features), inplace=True)
        if self.extra_planes:
            features = F.pad(features, (0, 0, 0, 0, 0, self.extra_planes))
        return self.conv(features)
