"""A network of a few thousand weights, videos that exist in memory only, and learners made of both."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from lightning_fabric import Fabric
from torch import nn
from torch.utils.data import DataLoader

from t3d.data.clips import EpochSampler, TrainClips
from t3d.data.samples import Sample, VideoList
from t3d.errors import DecodeError
from t3d.models import create_model
from t3d.models.checkpoints import ModelCard
from t3d.training.loader import train_loader
from t3d.training.loop import Learner
from t3d.training.optim import build_optimizer, build_schedule
from t3d.video.reader import ArrayVideo
from t3d.video.spec import AugmentSpec, ClipSpec, PixelSpec

LABELS = ("clap", "run", "wave")
CLIP = ClipSpec(num_frames=4)
PIXELS = PixelSpec(resize=32, crop_size=32)
MICRO = {"blocks": [1, 1, 1, 1], "growth_rate": 4, "stem_channels": 4, "ttl_width": 4, "keep_last_plane": True}


def noise_video(path: Path) -> ArrayVideo:
    """Random pictures that depend on the file's name only; a name with `bad` in it cannot be decoded."""
    if "bad" in path.name:
        raise DecodeError(f"{path}: truncated")
    generator = torch.Generator().manual_seed(sum(map(ord, path.name)))
    return ArrayVideo(torch.randint(256, (11, 32, 36, 3), generator=generator, dtype=torch.uint8), name=str(path))


@pytest.fixture
def samples() -> Callable[..., tuple[Sample, ...]]:
    """Videos of the given names; labels go round unless they are given."""

    def create(names: Sequence[str], *, labels: Sequence[int] | None = None) -> tuple[Sample, ...]:
        numbers = labels or [index % len(LABELS) for index in range(len(names))]
        return tuple(
            Sample(name=name, path=Path("/nowhere") / name, label=label, group=name)
            for name, label in zip(names, numbers, strict=True)
        )

    return create


@pytest.fixture
def videos(samples: Callable[..., tuple[Sample, ...]]) -> Callable[..., VideoList]:
    def create(names: Sequence[str], *, labels: Sequence[int] | None = None) -> VideoList:
        return VideoList(
            samples=samples(names, labels=labels), labels=LABELS, root=Path("/nowhere"), format="csv", split="split 1"
        )

    return create


@pytest.fixture
def card() -> ModelCard:
    """The card of `micro_model`."""
    return ModelCard(arch="t3d_tiny", overrides=MICRO, labels=LABELS, clip=CLIP, pixels=PIXELS)


@pytest.fixture
def micro_model() -> Callable[..., nn.Module]:
    """The smallest T3D, always with the same weights for the same seed."""

    def create(*, seed: int = 0, num_classes: int = len(LABELS), **overrides: object) -> nn.Module:
        generator = torch.Generator().manual_seed(seed)
        model = create_model("t3d_tiny", num_classes=num_classes, generator=generator, **{**MICRO, **overrides})
        nn.init.normal_(model.classifier.weight, std=0.5, generator=generator)  # so that scores are not all alike
        return model

    return create


class MeanColour(nn.Module):
    """Linear in the mean colour of a clip: no normalisation, so halves of a batch do not see each other."""

    def __init__(self, num_classes: int = len(LABELS)) -> None:
        super().__init__()
        self.classifier = nn.Linear(3, num_classes)
        with torch.no_grad():
            self.classifier.weight.copy_(torch.arange(3.0 * num_classes).view(num_classes, 3).sin())
            self.classifier.bias.copy_(torch.arange(1.0 * num_classes).cos())

    def forward(self, clips: torch.Tensor) -> torch.Tensor:
        """Map (B, 3, T, H, W) to (B, K)."""
        return self.classifier(clips.mean(dim=(2, 3, 4)))


@pytest.fixture
def toy_model() -> Callable[..., MeanColour]:
    return MeanColour


@pytest.fixture
def learner() -> Callable[..., Learner]:
    """A learner with plain SGD at a flat rate, unless told otherwise."""

    def create(
        model: nn.Module,
        *,
        ema_decay: float | None = None,
        compiled_for: int | None = None,
        savings: Sequence[str] = (),
        **options: object,
    ) -> Learner:
        sgd = {"lr": 0.1, "momentum": 0.0, "nesterov": False, "weight_decay": 0.0, "layer_decay": 1.0}
        rates = {"kind": "plateau", "num_steps": 100, "warmup_steps": 0, "steps_per_decay": 1, "decay_factor": 0.1}
        optimizer = build_optimizer(model, **{name: options.get(name, value) for name, value in sgd.items()})
        schedule = build_schedule(optimizer, **{name: options.get(name, value) for name, value in rates.items()})
        fabric = Fabric(accelerator="cpu", devices=1)
        flags = {"ema_decay": ema_decay, "compiled_for": compiled_for, "savings": savings}
        return Learner(fabric, model, optimizer, schedule, **flags)

    return create


@pytest.fixture
def loading(
    samples: Callable[..., tuple[Sample, ...]],
) -> Callable[..., tuple["DataLoader[Any]", EpochSampler]]:
    """Batches of noise videos of the given names."""

    def create(
        names: Sequence[str], *, batch_size: int, labels: Sequence[int] | None = None, seed: int = 0
    ) -> tuple["DataLoader[Any]", EpochSampler]:
        clips = TrainClips(
            samples(names, labels=labels),
            clip=CLIP,
            pixels=PIXELS,
            augment=AugmentSpec(),
            open_video=noise_video,
            seed=seed,
        )
        sampler = EpochSampler(len(clips), batch_size=batch_size, seed=seed)
        return train_loader(clips, sampler, batch_size=batch_size, num_workers=0, pin_memory=False), sampler

    return create


class NoCallbacks:
    """Remember what was called, do nothing."""

    def __init__(self) -> None:
        self.calls: list[tuple[str, int]] = []

    def on_step(self, learner: Learner) -> None:
        self.calls.append(("step", learner.progress.step))

    def on_epoch(self, learner: Learner) -> None:
        self.calls.append(("epoch", learner.progress.epoch))

    def save(self, learner: Learner) -> None:
        self.calls.append(("save", learner.progress.epoch))


@pytest.fixture
def no_callbacks() -> NoCallbacks:
    return NoCallbacks()


@pytest.fixture
def open_noise() -> Callable[[Path], ArrayVideo]:
    return noise_video
