"""DenseNet3D and T3D: one network, told apart by what stands between its dense blocks. No names, no weights here."""

from collections import OrderedDict
from itertools import zip_longest

import torch.nn.functional as F
from torch import Tensor, nn

from t3d.models.composite import repeat_ends
from t3d.models.dense_block import DenseBlock, DenseLayer
from t3d.models.densenet_spec import DenseNetSpec
from t3d.models.network import Trunk
from t3d.models.sizes import half
from t3d.models.transitions import DenseTransition, HalvingPool, TemporalTransition


def densenet3d(spec: DenseNetSpec) -> Trunk:
    """Build the layers of a DenseNet3D; with temporal transitions it is T3D.

    Source: Diba et al. 2017, arXiv:1711.08200, section 3.1, Table 1, Fig. 1.
    """
    stages, num_features = _stages(spec)
    return Trunk(stem=Stem(spec), stages=stages, num_features=num_features, norm=nn.BatchNorm3d(num_features))


class Stem(nn.Module):
    """Convolution, BN, ReLU and max pool: the only layers that see pixels."""

    def __init__(self, spec: DenseNetSpec) -> None:
        super().__init__()
        kernel, pool = spec.stem_kernel, spec.stem_pool_kernel
        planes, rows, columns = half(kernel)
        self.repeats = (planes, planes) if spec.replicate_time else (0, 0)
        padding = (0 if spec.replicate_time else planes, rows, columns)
        self.conv = nn.Conv3d(
            spec.in_channels, spec.stem_channels, kernel, stride=spec.stem_stride, padding=padding, bias=False
        )
        self.norm = nn.BatchNorm3d(spec.stem_channels)
        self.pool = nn.MaxPool3d(pool, stride=spec.stem_pool_stride, padding=half(pool))

    def forward(self, clips: Tensor) -> Tensor:
        """Map (B, C, T, H, W) to (B, stem_channels, ...), smaller by both strides."""
        return self.pool(F.relu(self.norm(self.conv(repeat_ends(clips, self.repeats))), inplace=True))


def _stages(spec: DenseNetSpec) -> tuple[nn.Sequential, int]:
    """Chain blocks and transitions; also say how many channels come out."""
    stages: OrderedDict[str, nn.Module] = OrderedDict()
    channels, last = spec.stem_channels, len(spec.blocks)
    for number, (num_layers, depths) in enumerate(zip_longest(spec.blocks, spec.ttl_depths), start=1):
        stages[f"block{number}"] = _block(channels, num_layers, spec)
        channels += num_layers * spec.growth_rate
        if number < last:
            transition = _transition(channels, depths, spec)
            stages[f"transition{number}"] = transition
            channels = transition.out_channels
    return nn.Sequential(stages), channels


def _block(in_channels: int, num_layers: int, spec: DenseNetSpec) -> DenseBlock:
    return DenseBlock(
        [
            DenseLayer(
                in_channels + index * spec.growth_rate,
                spec.growth_rate,
                width=spec.bottleneck * spec.growth_rate,
                time_kernel=spec.dense_time_kernel,
                replicate_time=spec.replicate_time,
                dropout=spec.dropout,
            )
            for index in range(num_layers)
        ]
    )


def _transition(
    in_channels: int, depths: tuple[int, ...] | None, spec: DenseNetSpec
) -> TemporalTransition | DenseTransition:
    pool = HalvingPool(time_stride=spec.transition_time_stride, keep_last_plane=spec.keep_last_plane)
    if depths is None:
        return DenseTransition(in_channels, pool=pool)
    return TemporalTransition(
        in_channels,
        depths=depths,
        width=spec.ttl_width,
        compress=spec.ttl_compress,
        flat=spec.ttl_flat,
        replicate_time=spec.replicate_time,
        pool=pool,
    )
