"""The composite of post-activation networks: convolve, normalise, perhaps rectify; and padding found at run time."""

import torch.nn.functional as F
from torch import Tensor, nn

from t3d.models.sizes import Size, half


class ConvNorm(nn.Module):
    """A convolution without bias, BN, and ReLU where it is wanted.

    Args:
        kernel: Size in (T, H, W).
        stride: Likewise.
        rectify: Whether a ReLU follows.
        same: Pad as `pad_same` does, by what the clip's size asks for, instead of half the kernel on each side.
        norm: Its eps, and the momentum of its running statistics.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        *,
        kernel: Size = (1, 1, 1),
        stride: Size = (1, 1, 1),
        rectify: bool = True,
        same: bool = False,
        norm: tuple[float, float] = (1e-5, 0.1),
    ) -> None:
        super().__init__()
        padding = (0, 0, 0) if same else half(kernel)
        self.same = same
        self.rectify = rectify
        self.conv = nn.Conv3d(in_channels, out_channels, kernel, stride=stride, padding=padding, bias=False)
        self.norm = nn.BatchNorm3d(out_channels, *norm)

    def forward(self, features: Tensor) -> Tensor:
        """Map (B, C, T, H, W) to (B, out_channels, ...), each length divided by its stride and rounded up."""
        if self.same:
            features = pad_same(features, self.conv.kernel_size, self.conv.stride)
        features = self.norm(self.conv(features))
        return F.relu(features, inplace=True) if self.rectify else features


class MaxPoolSame(nn.Module):
    """Max pool with the padding of `pad_same`; the zeros cannot win over what a ReLU gave."""

    def __init__(self, kernel: Size, stride: Size) -> None:
        super().__init__()
        self.kernel = kernel
        self.stride = stride

    def forward(self, features: Tensor) -> Tensor:
        """Map (B, C, T, H, W), nowhere negative, to (B, C, ...), each length divided by its stride and rounded up."""
        return F.max_pool3d(pad_same(features, self.kernel, self.stride), self.kernel, self.stride)


def pad_same(features: Tensor, kernel: tuple[int, ...], stride: tuple[int, ...]) -> Tensor:
    """Pad T, H and W with zeros as TensorFlow's SAME does: as little as the size needs, the odd one behind."""
    amounts: list[int] = []
    for length, size, step in zip(features.shape[:1:-1], kernel[::-1], stride[::-1], strict=True):  # F.pad: last first
        total = max(size - (length % step or step), 0)
        amounts += [total // 2, total - total // 2]
    return F.pad(features, amounts) if any(amounts) else features
