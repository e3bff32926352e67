"""Training videos as batches: which are drawn, how often, by how many processes."""

import math
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from t3d.data.clips import EpochSampler, collate_train
from t3d.data.samples import Sample
from t3d.system import ignore_interrupts


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
