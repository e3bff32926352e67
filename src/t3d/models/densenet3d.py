"""DenseNet3D and T3D: one network, told apart by what stands between its dense blocks. No names, no weights here."""

from collections import OrderedDict
from itertools import zip_longest

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from t3d.errors import ConfigError
from t3d.models.composite import NormReluConv, repeat_ends
from t3d.models.densenet_spec import DenseNetSpec, Size
from t3d.models.transitions import DenseTransition, HalvingPool, TemporalTransition
from t3d.tensors import Clips, FeatureMap, Features, Logits


class DenseNet3D(nn.Module):
    """Classify clips by densely connected 3D convolutions; with temporal transitions it is T3D.

    The head averages over whatever positions are left, so one set of weights serves every clip size.

    Args:
        spec: The literals of the architecture.
        num_classes: Width of the classifier; 0 leaves it out, and the network returns what it would have seen.
        generator: Source of the initial weights; PyTorch's own when not given.

    Source: Diba et al. 2017, arXiv:1711.08200, section 3.1, Table 1, Fig. 1.
    """

    def __init__(self, spec: DenseNetSpec, *, num_classes: int = 400, generator: torch.Generator | None = None) -> None:
        super().__init__()
        self.spec = spec
        self.stem = Stem(spec)
        self.stages, self.num_features = _stages(spec)
        self.norm = nn.BatchNorm3d(self.num_features)
        self.neck = nn.Linear(self.num_features, spec.neck) if spec.neck else nn.Identity()
        head_width = spec.neck or self.num_features
        self.classifier = nn.Linear(head_width, num_classes) if num_classes else nn.Identity()
        self.initialise(generator)

    def forward(self, clips: Clips) -> Logits:
        """Score every class."""
        features = self.embed(clips)
        if self.spec.neck:
            features = F.relu(self.neck(features))
        return self.classifier(features)

    def embed(self, clips: Clips) -> Features:
        """Average the last map over time and space: what the classifier sees, or the neck before it."""
        return self.forward_features(clips).mean(dim=(2, 3, 4))

    def forward_features(self, clips: Clips) -> FeatureMap:
        """Compute the last map, normalised and rectified, `num_features` wide.

        Raises:
            ConfigError: When a clip has other channels than the network, or is smaller than `spec.minimum_size`.
        """
        self._check_clips(clips)
        return F.relu(self.norm(self.stages(self.stem(clips))))

    def initialise(self, generator: torch.Generator | None = None) -> None:
        """Draw all weights anew; the one place that decides how.

        Convolutions: normal, variance 2 / fan-in (He et al. 2015, arXiv:1502.01852). Batch norm: scale 1, shift 0,
        statistics reset. Neck: as a convolution, zero bias. Classifier: normal, deviation 0.01, zero bias, so that
        training starts from even odds. The paper states none of this: it is this project's decision (the authors' code
        keeps PyTorch's defaults).
        """
        for module in self.modules():
            if isinstance(module, nn.Conv3d):
                nn.init.kaiming_normal_(module.weight, nonlinearity="relu", generator=generator)
            elif isinstance(module, nn.BatchNorm3d):
                module.reset_parameters()
        if isinstance(self.neck, nn.Linear):
            nn.init.kaiming_normal_(self.neck.weight, nonlinearity="relu", generator=generator)
            nn.init.zeros_(self.neck.bias)
        if isinstance(self.classifier, nn.Linear):
            nn.init.normal_(self.classifier.weight, std=0.01, generator=generator)
            nn.init.zeros_(self.classifier.bias)

    def _check_clips(self, clips: Tensor) -> None:
        channels, *size = clips.shape[1:]
        minimum = self.spec.minimum_size
        if channels != self.spec.in_channels:
            raise ConfigError(f"clips have {channels} channels, but the network was built with {self.spec.in_channels}")
        if any(given < needed for given, needed in zip(size, minimum, strict=True)):
            raise ConfigError(
                f"clips of {_times(size)} (T x H x W) are too small: this network needs at least {_times(minimum)}; "
                "use more frames or a larger crop, or set keep_last_plane for short clips"
            )


class Stem(nn.Module):
    """Convolution, BN, ReLU and max pool: the only layers that see pixels."""

    def __init__(self, spec: DenseNetSpec) -> None:
        super().__init__()
        kernel, pool = spec.stem_kernel, spec.stem_pool_kernel
        planes, rows, columns = _half(kernel)
        self.repeats = (planes, planes) if spec.replicate_time else (0, 0)
        padding = (0 if spec.replicate_time else planes, rows, columns)
        self.conv = nn.Conv3d(
            spec.in_channels, spec.stem_channels, kernel, stride=spec.stem_stride, padding=padding, bias=False
        )
        self.norm = nn.BatchNorm3d(spec.stem_channels)
        self.pool = nn.MaxPool3d(pool, stride=spec.stem_pool_stride, padding=_half(pool))

    def forward(self, clips: Tensor) -> Tensor:
        """Map (B, C, T, H, W) to (B, stem_channels, ...), smaller by both strides."""
        return self.pool(F.relu(self.norm(self.conv(repeat_ends(clips, self.repeats))), inplace=True))


class DenseLayer(nn.Module):
    """Append `growth_rate` new channels, made from all that came before.

    Source: Huang et al. 2017, arXiv:1608.06993, section 3, in three dimensions.
    """

    def __init__(self, in_channels: int, spec: DenseNetSpec) -> None:
        super().__init__()
        width = spec.bottleneck * spec.growth_rate
        self.squeeze = NormReluConv(in_channels, width)
        self.grow = NormReluConv(
            width, spec.growth_rate, kernel=(spec.dense_time_kernel, 3, 3), replicate_time=spec.replicate_time
        )
        self.dropout = nn.Dropout(spec.dropout)

    def forward(self, features: Tensor) -> Tensor:
        """Map (B, C, T, H, W) to (B, C + growth_rate, T, H, W)."""
        return torch.cat([features, self.dropout(self.grow(self.squeeze(features)))], dim=1)


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


def _block(in_channels: int, num_layers: int, spec: DenseNetSpec) -> nn.Sequential:
    layers = (DenseLayer(in_channels + index * spec.growth_rate, spec) for index in range(num_layers))
    return nn.Sequential(OrderedDict((f"layer{number}", layer) for number, layer in enumerate(layers, start=1)))


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


def _half(kernel: Size) -> Size:
    return kernel[0] // 2, kernel[1] // 2, kernel[2] // 2


def _times(size: tuple[int, ...] | list[int]) -> str:
    return " x ".join(str(length) for length in size)
