"""Pooling heads: from the last map of a network to one vector a clip, before the classifier."""

import math

from jaxtyping import Float
from torch import Tensor, nn

from t3d.errors import ConfigError
from t3d.models.layers import Size, times
from t3d.tensors import FeatureMap, Features


class GlobalMean(nn.Module):
    """Average over time and space, so that clips of every size are possible."""

    def forward(self, features: FeatureMap) -> Features:
        """Map (B, C, T, H, W) to (B, C)."""
        return features.mean(dim=(2, 3, 4))


class SlidingMean(nn.Module):
    """Average windows of 2 x 7 x 7 one plane apart, then the windows: the head of I3D.

    Inner planes count twice as much as the first and the last. A linear classifier after it gives what the published
    network gives, which classifies each window and averages the logits.

    Source: Carreira and Zisserman 2017, arXiv:1705.07750, Fig. 3.
    """

    WINDOW: Size = (2, 7, 7)

    def forward(self, features: FeatureMap) -> Features:
        """Map (B, C, T, 7, 7) with T >= 2 to (B, C).

        Raises:
            ConfigError: When the map has another height or width, or a single plane.
        """
        planes, *area = features.shape[2:]
        if planes < self.WINDOW[0] or tuple(area) != self.WINDOW[1:]:
            raise ConfigError(
                f"a last map of {times(features.shape[2:])} does not suit the published head, which is made for "
                "2 x 7 x 7 and longer: give clips of 9 frames and more, of 193 to 224 pixels, or --head mean"
            )
        by_plane = features.mean(dim=(3, 4))  # (B, C, T)
        return ((by_plane[:, :, :-1] + by_plane[:, :, 1:]) / 2).mean(dim=2)


class FullyConnected(nn.Module):
    """Max pool, then two wide linear layers on the flattened map: the head of C3D.

    The pool pads height and width by one on both sides, as the PyTorch ports do; the original Caffe network rounds its
    size up instead, and gives other values with the same weights.

    Args:
        in_channels: Channels of the map.
        width: Of both layers.
        dropout: Between them.

    Source: Tran et al. 2015, arXiv:1412.0767, section 3.
    """

    SMALLEST: Size = (2, 6, 6)
    """Smallest map (T, H, W) that is large enough for the linear layers after the pool."""
    POOLED: Size = (1, 4, 4)

    def __init__(self, in_channels: int, *, width: int, dropout: float) -> None:
        super().__init__()
        self.pool = nn.MaxPool3d(2, padding=(0, 1, 1))
        self.fc6 = nn.Linear(in_channels * math.prod(self.POOLED), width)
        self.dropout = nn.Dropout(dropout)
        self.fc7 = nn.Linear(width, width)

    def forward(self, features: FeatureMap) -> Float[Tensor, "B E"]:
        """Map (B, C, T, H, W) to (B, width).

        Raises:
            ConfigError: When the pooled map has another size than the layers were built for.
        """
        pooled = self.pool(features)
        if tuple(pooled.shape[2:]) != self.POOLED:
            raise ConfigError(
                f"a last map of {times(features.shape[2:])} does not suit the published head, which is made for "
                "2 x 7 x 7: give clips of 16 x 112 x 112, or --head mean"
            )
        hidden = self.dropout(self.fc6(pooled.flatten(1)).relu())
        return self.fc7(hidden).relu()
