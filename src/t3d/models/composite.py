"""The composite every convolution of a DenseNet after the stem is: normalise, rectify, convolve. No pooling here."""

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn


class NormReluConv(nn.Module):
    """BN, ReLU, then a convolution of stride 1 without bias that keeps T, H and W.

    An even kernel in time looks one plane further ahead than back: (d - 1) // 2 zeros before, d // 2 after. No source
    states that side; it is this project's decision.

    Args:
        kernel: Size in (T, H, W); H and W odd.
        replicate_time: Beyond the first and last plane, see that plane again instead of zeros.

    Source: Diba et al. 2017, arXiv:1711.08200, section 3.1.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        *,
        kernel: tuple[int, int, int] = (1, 1, 1),
        replicate_time: bool = False,
    ) -> None:
        super().__init__()
        depth, height, width = kernel
        before, after = (depth - 1) // 2, depth // 2
        self.repeats = (before, after) if replicate_time else (0, 0)
        self.extra_planes = 0 if replicate_time else after - before
        padding = (0 if replicate_time else before, height // 2, width // 2)
        self.norm = nn.BatchNorm3d(in_channels)
        self.conv = nn.Conv3d(in_channels, out_channels, kernel, bias=False, padding=padding)

    def forward(self, features: Tensor) -> Tensor:
        """Map (B, C, T, H, W) to (B, out_channels, T, H, W)."""
        features = F.relu(self.norm(features), inplace=True)
        if self.extra_planes:
            features = F.pad(features, (0, 0, 0, 0, 0, self.extra_planes))
        return self.conv(repeat_ends(features, self.repeats))


def repeat_ends(features: Float[Tensor, "B C T H W"], repeats: tuple[int, int]) -> Float[Tensor, "B C t H W"]:
    """Put the first plane in time in front again, and the last one behind, each as often as told.

    The same as `F.pad` in mode "replicate", whose gradient PyTorch documents as not repeatable on a GPU.
    """
    before, after = repeats
    if before == after == 0:
        return features
    return torch.cat([*[features[:, :, :1]] * before, features, *[features[:, :, -1:]] * after], dim=2)
