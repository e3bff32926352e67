"""Batches of training videos: sampling weights, processes, number of updates."""

import math
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from lightning_fabric import Fabric
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from t3d.data.clips import EpochSampler, collate_train
from t3d.data.samples import Sample
from t3d.errors import ConfigError
from t3d.system import ignore_interrupts


@dataclass(frozen=True, kw_only=True)
class Length:
    """Length of a training."""

    epoch_steps: int
    """Updates in one epoch."""
    num_steps: int
    """Updates in all."""

    @property
    def num_epochs(self) -> int:
        """Number of epochs begun, unless the training stops early."""
        return math.ceil(self.num_steps / self.epoch_steps)


def count_updates(
    num_clips: int,
    *,
    batch_size: int,
    accumulate: int,
    epochs: int,
    min_steps: int,
    max_steps: int | None,
    world_size: int,
    fewest: int = 1,
) -> Length:
    """Updates in an epoch and in the whole training.

    Args:
        num_clips: Clips, or videos, of one epoch of all processes.
        batch_size: Clips of a batch of one process.
        accumulate: Batches of an update.
        epochs: Number of epochs.
        min_steps: Minimum number of updates.
        max_steps: Maximum number of updates.
        world_size: Processes.
        fewest: Minimum number of clips per process.

    Raises:
        ConfigError: There are more processes than videos.
    """
    if num_clips < fewest * world_size:
        raise ConfigError(f"{num_clips} training videos are too few for {world_size} processes; lower --devices")
    epoch_steps = steps_per_epoch(num_clips, batch_size=batch_size, accumulate=accumulate, world_size=world_size)
    num_steps = max(epochs * epoch_steps, min_steps)
    return Length(epoch_steps=epoch_steps, num_steps=num_steps if max_steps is None else min(num_steps, max_steps))


def build_loader(
    clips: "Dataset[Any]",
    fabric: Fabric,
    *,
    batch_size: int,
    seed: int,
    num_workers: int,
    weights: Tensor | None = None,
    collate: Callable[[Sequence[Any]], Any] = collate_train,
) -> tuple["DataLoader[Any]", EpochSampler]:
    """This process's batches, and the sampler that orders them.

    Args:
        clips: All clips, of all processes.
        fabric: The devices.
        batch_size: Clips of a batch.
        seed: Of the order.
        num_workers: Processes that decode; 0 decodes in this one.
        weights: Sampling weights of the clips (N,); None draws each once per epoch.
        collate: Collates items to a batch.
    """
    sampler = EpochSampler(
        len(clips),  # type: ignore[arg-type]
        batch_size=batch_size,
        seed=seed,
        weights=weights,
        rank=fabric.global_rank,
        world_size=fabric.world_size,
    )
    loader = train_loader(
        clips,
        sampler,
        batch_size=batch_size,
        num_workers=num_workers,
        pin_memory=fabric.device.type == "cuda",
        collate=collate,
    )
    return loader, sampler


def train_loader(
    clips: "Dataset[Any]",
    sampler: EpochSampler,
    *,
    batch_size: int,
    num_workers: int,
    pin_memory: bool,
    collate: Callable[[Sequence[Any]], Any] = collate_train,
) -> "DataLoader[Any]":
    """Batches in the sampler's order; the last, smaller one is dropped unless it is the only one."""
    return DataLoader(
        clips,
        batch_size=batch_size,
        sampler=sampler,
        num_workers=num_workers,
        collate_fn=collate,
        drop_last=len(sampler) >= batch_size,
        pin_memory=pin_memory,
        persistent_workers=num_workers > 0,
        worker_init_fn=ignore_interrupts,
    )


def steps_per_epoch(num_samples: int, *, batch_size: int, accumulate: int, world_size: int) -> int:
    """Updates in one epoch of each process."""
    share = max(1, num_samples // world_size)
    return math.ceil(max(1, share // batch_size) / accumulate)


def class_weights(samples: Sequence[Sample], num_classes: int) -> Tensor:
    """Loss weights (K,) inverse to the frequency of the class, mean 1 over the videos; 0 for a class without any."""
    counts = Counter(sample.label for sample in samples)
    present = len(counts)
    return torch.tensor(
        [len(samples) / (present * counts[label]) if counts[label] else 0.0 for label in range(num_classes)]
    )


def drawing_weights(samples: Sequence[Sample]) -> Tensor:
    """Weights (N,) that draw every class equally often."""
    counts = Counter(sample.label for sample in samples)
    return torch.tensor([1.0 / counts[sample.label] for sample in samples], dtype=torch.float64)
