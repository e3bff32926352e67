"""The network class of all families: stem, stages, pooling head and classifier, built from a spec."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Protocol, runtime_checkable

import torch.nn.functional as F
from torch import Generator, Tensor, nn

from t3d.errors import ConfigError
from t3d.models.heads import GlobalMean
from t3d.models.layers import Size, times
from t3d.tensors import Clips, FeatureMap, Features, Logits


@runtime_checkable
class Spec(Protocol):
    """Common options of all families; a family's spec is a frozen dataclass with more of its own."""

    @property
    def in_channels(self) -> int:
        """Channels of a clip."""
        ...

    @property
    def neck(self) -> int:
        """Width of a linear layer and ReLU between features and classifier; 0 is none."""
        ...

    @property
    def minimum_size(self) -> Size:
        """Smallest clip (T, H, W) that is large enough for the head."""
        ...

    def twin(self) -> dict[str, object]:
        """Overrides of the 2D twin: every kernel, stride and pool 1 in time."""
        ...

    def build(self) -> "Trunk":
        """Build the layers up to the features, with PyTorch's default initial weights."""
        ...


@dataclass(frozen=True, kw_only=True, eq=False)
class Trunk:
    """The layers of one network up to its features."""

    stem: nn.Module
    """First layers, on pixels."""
    stages: nn.Sequential
    """`block1`, and before each further `blockN` the `transitionN-1` that halves the map."""
    num_features: int
    """Channels of the output of `head`."""
    norm: nn.Module = field(default_factory=nn.Identity)
    """In pre-activation networks, the norm before the last ReLU."""
    head: nn.Module = field(default_factory=GlobalMean)
    """From the last map (B, C, T, H, W) to features (B, num_features)."""
    dropout: float = 0.0
    """Dropout probability before the classifier."""


class Network(nn.Module):
    """Classify clips.

    Args:
        spec: Options of the architecture; builds the layers.
        num_classes: Width of the classifier; 0 leaves it out, and the network returns the features.
        generator: Source of the initial weights; PyTorch's own when not given.
    """

    def __init__(self, spec: Spec, *, num_classes: int = 400, generator: Generator | None = None) -> None:
        super().__init__()
        trunk = spec.build()
        self.spec = spec
        self.num_features = trunk.num_features
        self.stem = trunk.stem
        self.stages = trunk.stages
        self.norm = trunk.norm
        self.head = trunk.head
        self.neck = nn.Linear(self.num_features, spec.neck) if spec.neck else nn.Identity()
        self.dropout = nn.Dropout(trunk.dropout) if trunk.dropout else nn.Identity()
        self.classifier = nn.Linear(spec.neck or self.num_features, num_classes) if num_classes else nn.Identity()
        self.initialise(generator)

    def forward(self, clips: Clips) -> Logits:
        """Compute logits (B, num_classes) of clips (B, C, T, H, W)."""
        features = self.embed(clips)
        if self.spec.neck:
            features = F.relu(self.neck(features))
        return self.classifier(self.dropout(features))

    def embed(self, clips: Clips) -> Features:
        """Pool the last map to features (B, num_features), the input of neck and classifier."""
        return self.head(self.forward_features(clips))

    def forward_features(self, clips: Clips) -> FeatureMap:
        """Compute the last map before pooling, after its ReLU.

        Raises:
            ConfigError: When a clip has other channels than the network, or is smaller than `spec.minimum_size`.
        """
        self._check_clips(clips)
        last = self.stages(self.stem(clips))
        return last if isinstance(self.norm, nn.Identity) else F.relu(self.norm(last))

    def initialise(self, generator: Generator | None = None) -> None:
        """Initialise all weights; the only place that defines how.

        Convolutions and hidden linear layers: normal, variance 2 / fan-in (He et al. 2015, arXiv:1502.01852), no bias.
        Batch norm: scale 1, shift 0, statistics reset. Classifier: normal, deviation 0.01, zero bias, so that training
        starts from equal class probabilities. The paper does not state this: it is this project's decision (the
        authors' code keeps PyTorch's defaults). On the meta device, nothing is drawn.
        """
        if next(self.parameters()).is_meta:
            return
        for module in self.modules():
            if isinstance(module, nn.Conv3d):
                nn.init.kaiming_normal_(module.weight, nonlinearity="relu", generator=generator)
                if module.bias is not None:
                    nn.init.zeros_(module.bias)
            elif isinstance(module, nn.BatchNorm3d):
                module.reset_parameters()
        for module in [*self.head.modules(), self.neck]:
            if isinstance(module, nn.Linear):
                nn.init.kaiming_normal_(module.weight, nonlinearity="relu", generator=generator)
                nn.init.zeros_(module.bias)
        if isinstance(self.classifier, nn.Linear):
            nn.init.normal_(self.classifier.weight, std=0.01, generator=generator)
            nn.init.zeros_(self.classifier.bias)

    def _check_clips(self, clips: Tensor) -> None:
        channels, *size = clips.shape[1:]
        if channels != self.spec.in_channels:
            raise ConfigError(f"clips have {channels} channels, but the network was built with {self.spec.in_channels}")
        if not _suffices(size, self.spec):
            raise ConfigError(
                f"clips of {times(size)} (T x H x W) are too small: this network needs at least "
                f"{times(self.spec.minimum_size)}; use more frames or a larger crop{_remedies(size, self.spec)}"
            )


def _suffices(size: Sequence[int], spec: Spec) -> bool:
    return all(given >= needed for given, needed in zip(size, spec.minimum_size, strict=True))


def _remedies(size: Sequence[int], spec: Spec) -> str:
    """Flags for small clips that would make this size possible."""
    options: dict[str, dict[str, Any]] = {
        "--keep-last-plane": {"keep_last_plane": True},
        "--head mean": {"head": "mean"},
    }
    known = {flag: values for flag, values in options.items() if all(hasattr(spec, name) for name in values)}
    return "".join(f", or {flag}" for flag, values in known.items() if _suffices(size, replace(spec, **values)))  # type: ignore[type-var]
