"""The composite every convolution of a DenseNet after the stem is: normalise, rectify, convolve. No pooling here."""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from t3d.models.real_zeros import needs_real_zeros


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
        self.padding = (0 if replicate_time else before, height // 2, width // 2)
        self.norm = nn.BatchNorm3d(in_channels)
        self.conv = nn.Conv3d(in_channels, out_channels, kernel, bias=False, padding=self.padding)

    def forward(self, features: Tensor) -> Tensor:
        """Map (B, C, T, H, W) to (B, out_channels, T, H, W)."""
        features = F.relu(self.norm(features), inplace=True)
        if self.extra_planes:
            features = F.pad(features, (0, 0, 0, 0, 0, self.extra_planes))
        return self.conv(repeat_ends(features, self.repeats))


def convolve_back(
    grad: Tensor, maps: Tensor, weight: Tensor, *, stride: Sequence[int] = (1, 1, 1), padding: Sequence[int] = (0, 0, 0)
) -> tuple[Tensor, Tensor]:
    """Gradients of maps and weight, from that of what a convolution without bias made of them, in its number format."""
    zeros, height, width = padding
    half = grad.dtype == torch.bfloat16
    real = half and needs_real_zeros(maps.shape[2], weight.shape[2], zeros=zeros, stride=stride[0])
    before = zeros if real else 0
    of_maps, of_weight, _ = torch.ops.aten.convolution_backward(
        grad,
        (F.pad(maps, (0, 0, 0, 0, before, before)) if before else maps).to(grad.dtype),  # padding by none copies
        weight.to(grad.dtype),
        None,
        stride,
        (zeros - before, height, width),
        (1, 1, 1),
        False,
        (0, 0, 0),
        1,
        (True, True, False),
    )
    return of_maps.narrow(2, before, maps.shape[2]), of_weight.to(weight.dtype)


def repeat_ends(features: Float[Tensor, "B C T H W"], repeats: tuple[int, int]) -> Float[Tensor, "B C t H W"]:
    """Put the first plane in time in front again, and the last one behind, each as often as told.

    The same as `F.pad` in mode "replicate", whose gradient PyTorch documents as not repeatable on a GPU.
    """
    before, after = repeats
    if before == after == 0:
        return features
    return torch.cat([*[features[:, :, :1]] * before, features, *[features[:, :, -1:]] * after], dim=2)
