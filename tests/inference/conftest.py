"""Small networks translated once for all tests; reading, writing and scoring are what is tested."""

from collections.abc import Callable
from importlib.util import find_spec
from typing import Any, NamedTuple

import pytest
import torch
from torch import nn

from t3d.inference.backends import BACKENDS
from t3d.inference.backends.base import Export
from t3d.models import create_model
from t3d.models.checkpoints import ModelCard
from t3d.video.spec import ClipSpec, PixelSpec

OVERRIDES: dict[str, dict[str, Any]] = {
    "t3d_tiny": {"blocks": [1, 1, 1, 1], "growth_rate": 4, "stem_channels": 4, "ttl_width": 4, "keep_last_plane": True},
    "resnet3d_tiny_ttl": {"keep_last_plane": True},
}


class Subject(NamedTuple):
    """A network, its card, and what an engine made of it."""

    network: nn.Module
    card: ModelCard
    model: Any


@pytest.fixture
def export() -> Export:
    return Export(engine="openvino", precision="float32", weights="/nowhere/weights.safetensors", weights_sha256="0f")


@pytest.fixture(scope="session")
def translated() -> Callable[..., Subject]:
    """A tiny network for an engine; tests must not change it."""
    made: dict[tuple[str, ...], Subject] = {}

    def get(engine: str, arch: str = "t3d_tiny", modality: str | None = None) -> Subject:
        key = (engine, arch, modality or ("flow" if engine == "torch" else "rgb"))
        for package in BACKENDS[engine].packages["float32"]:
            if find_spec(package) is None:
                pytest.skip(f"{package} is not installed")
        if key not in made:
            made[key] = _translate(*key)
        return made[key]

    return get


def _translate(engine: str, arch: str, modality: str) -> Subject:
    overrides = OVERRIDES[arch] | ({"in_channels": 2} if modality == "flow" else {})
    colours = {} if modality == "flow" else {"mean": (0.3, 0.4, 0.5), "std": (0.1, 0.2, 0.3)}
    pixels = PixelSpec(resize=32, crop_size=32, modality=modality, **colours)
    labels, clip = ("clap", "run", "wave"), ClipSpec(num_frames=4)
    card = ModelCard(arch=arch, overrides=overrides, labels=labels, clip=clip, pixels=pixels)
    network = create_model(arch, 3, generator=torch.Generator().manual_seed(0), **overrides).eval()
    _look_trained(network)
    return Subject(network, card, BACKENDS[engine].translate(network, card, None))


def _look_trained(network: nn.Module) -> None:
    """Draw batch-norm statistics and a classifier unlike the initial ones."""
    generator = torch.Generator().manual_seed(1)
    for module in network.modules():
        if isinstance(module, nn.BatchNorm3d):
            nn.init.normal_(module.running_mean, std=0.3, generator=generator)
            nn.init.uniform_(module.running_var, 0.5, 2, generator=generator)
    nn.init.normal_(network.classifier.weight, std=0.5, generator=generator)
