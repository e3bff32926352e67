"""T3D and DenseNet3D written plainly, as Table 1 of the paper reads: what the package's networks are measured against.

Nothing of the package is used here, and nothing is done for speed. The modules come in the order of the package's
networks, so that the values of one state dict fit the other, one after the other.

Source: Diba et al. 2017, arXiv:1711.08200, section 3.1, Table 1; widths as in the authors' code.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

LITERAL_NETWORKS: dict[str, tuple[tuple[int, ...], tuple[tuple[int, ...], ...]]] = {
    "densenet3d_121": ((6, 12, 24, 16), ()),
    "densenet3d_169": ((6, 12, 32, 32), ()),
    "t3d_121": ((6, 12, 24, 16), ((1, 3, 6), (1, 3, 4), (1, 3, 4))),
    "t3d_169": ((6, 12, 32, 32), ((1, 3, 6), (1, 3, 4), (1, 3, 4))),
}
"""Layers of each block, and depths of the branches of each transition; DenseNet3D has none."""

_GROWTH, _BOTTLENECK, _STEM, _BRANCH = 32, 128, 64, 128


def literal_network(name: str, *, num_classes: int = 400, blocks: tuple[int, ...] = ()) -> nn.Sequential:
    """Build a network of `LITERAL_NETWORKS`, with PyTorch's own initial weights.

    Args:
        name: Of the network.
        num_classes: Of the classifier.
        blocks: Layers of each block, other than those of the network.
    """
    usual, depths = LITERAL_NETWORKS[name]
    blocks = blocks or usual
    layers: list[nn.Module] = [
        nn.Conv3d(3, _STEM, (3, 7, 7), stride=2, padding=(1, 3, 3), bias=False),
        nn.BatchNorm3d(_STEM),
        nn.ReLU(),
        nn.MaxPool3d(3, stride=(1, 2, 2), padding=1),
    ]
    channels = _STEM
    for number, num_layers in enumerate(blocks):
        for _ in range(num_layers):
            layers.append(_DenseLayer(channels))
            channels += _GROWTH
        if number < len(blocks) - 1:
            transition = _TemporalTransition(channels, depths[number]) if depths else _DenseTransition(channels)
            layers.append(transition)
            channels = transition.out_channels
    return nn.Sequential(*layers, nn.BatchNorm3d(channels), nn.ReLU(), _Mean(), nn.Linear(channels, num_classes))


class _DenseLayer(nn.Module):
    def __init__(self, channels: int) -> None:
        super().__init__()
        self.norm1 = nn.BatchNorm3d(channels)
        self.conv1 = nn.Conv3d(channels, _BOTTLENECK, 1, bias=False)
        self.norm2 = nn.BatchNorm3d(_BOTTLENECK)
        self.conv2 = nn.Conv3d(_BOTTLENECK, _GROWTH, 3, padding=1, bias=False)

    def forward(self, features: Tensor) -> Tensor:
        squeezed = self.conv1(F.relu(self.norm1(features)))
        return torch.cat([features, self.conv2(F.relu(self.norm2(squeezed)))], dim=1)


class _TemporalTransition(nn.Module):
    def __init__(self, channels: int, depths: tuple[int, ...]) -> None:
        super().__init__()
        self.branches = nn.ModuleList(_branch(channels, depth) for depth in depths)
        self.out_channels = _BRANCH * len(depths)

    def forward(self, features: Tensor) -> Tensor:
        return F.avg_pool3d(torch.cat([branch(features) for branch in self.branches], dim=1), 2)


class _DenseTransition(nn.Module):
    def __init__(self, channels: int) -> None:
        super().__init__()
        self.out_channels = channels // 2
        self.norm = nn.BatchNorm3d(channels)
        self.conv = nn.Conv3d(channels, self.out_channels, 1, bias=False)

    def forward(self, features: Tensor) -> Tensor:
        return F.avg_pool3d(self.conv(F.relu(self.norm(features))), 2)


class _Mean(nn.Module):
    def forward(self, features: Tensor) -> Tensor:
        return features.mean(dim=(2, 3, 4))


def _branch(channels: int, depth: int) -> nn.Sequential:
    area = 1 if depth == 1 else 3
    return nn.Sequential(
        nn.BatchNorm3d(channels),
        nn.ReLU(),
        nn.ConstantPad3d((area // 2, area // 2, area // 2, area // 2, (depth - 1) // 2, depth // 2), 0.0),
        nn.Conv3d(channels, _BRANCH, (depth, area, area), bias=False),
    )
