import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from t3d.data.clips import EpochSampler, TrainClips
from t3d.data.samples import Sample
from t3d.training.loader import class_weights, drawing_weights, steps_per_epoch, train_loader
from t3d.video.spec import AugmentSpec, ClipSpec, PixelSpec


@pytest.fixture
def batches(samples: Callable[..., tuple[Sample, ...]], open_noise: Callable[[Path], Any]) -> Callable[..., list[int]]:
    """Sizes of the batches of an epoch."""

    def count(num_samples: int, batch_size: int, *, world_size: int = 1, num_workers: int = 0) -> list[int]:
        clips = TrainClips(
            samples([f"{index}.mp4" for index in range(num_samples)]),
            clip=ClipSpec(num_frames=1),
            pixels=PixelSpec(resize=4, crop_size=4),
            augment=AugmentSpec(),
            open_video=open_noise,
            seed=0,
        )
        sampler = EpochSampler(num_samples, batch_size=batch_size, seed=0, world_size=world_size)
        loader = train_loader(clips, sampler, batch_size=batch_size, num_workers=num_workers, pin_memory=False)
        sizes = [len(batch.labels) for batch in loader]
        assert [len(batch.labels) for batch in loader] == sizes  # a loader serves many epochs
        return sizes

    return count


@pytest.mark.parametrize(
    ("num_samples", "batch_size", "sizes"),
    [(6, 2, [2, 2, 2]), (7, 2, [2, 2, 2]), (3, 4, [3]), (4, 4, [4]), (1, 1, [1]), (5, 4, [4])],
)
def test_the_smaller_last_batch_is_dropped_unless_alone(
    num_samples: int, batch_size: int, sizes: list[int], batches: Callable[..., list[int]]
) -> None:
    assert batches(num_samples, batch_size) == sizes


@pytest.mark.parametrize("num_samples", [1, 2, 5, 8, 9])
@pytest.mark.parametrize("batch_size", [1, 2, 3, 8])
@pytest.mark.parametrize("accumulate", [1, 2, 3])
@pytest.mark.parametrize("world_size", [1, 2])
def test_updates_are_the_groups_of_real_batches(
    num_samples: int, batch_size: int, accumulate: int, world_size: int, batches: Callable[..., list[int]]
) -> None:
    real = len(batches(num_samples, batch_size, world_size=world_size))
    counted = steps_per_epoch(num_samples, batch_size=batch_size, accumulate=accumulate, world_size=world_size)
    assert counted == math.ceil(real / accumulate)


def test_workers_serve_several_epochs(batches: Callable[..., list[int]]) -> None:
    assert batches(5, 2, num_workers=2) == [2, 2]


def test_class_weights_are_inverse_frequencies_with_mean_one(
    samples: Callable[..., tuple[Sample, ...]],
) -> None:
    """Four videos of class 0, two of class 2, none of class 1: 6 / (2 * 4) and 6 / (2 * 2)."""
    labels = [0, 0, 0, 0, 2, 2]
    weights = class_weights(samples("abcdef", labels=labels), 3)
    assert weights.tolist() == [0.75, 0.0, 1.5]
    assert float(weights[labels].mean()) == 1.0


def test_drawing_weights_give_every_class_the_same_chance(samples: Callable[..., tuple[Sample, ...]]) -> None:
    weights = drawing_weights(samples("abcdef", labels=[0, 0, 0, 0, 2, 2]))
    assert weights.tolist() == [0.25, 0.25, 0.25, 0.25, 0.5, 0.5]
    assert weights.dtype == torch.float64


def test_batches_are_made_by_whom_the_caller_says(
    samples: Callable[..., tuple[Sample, ...]], open_noise: Callable[[Path], Any]
) -> None:
    clips = TrainClips(
        samples("abcde"),
        clip=ClipSpec(num_frames=1),
        pixels=PixelSpec(resize=4, crop_size=4),
        augment=AugmentSpec(),
        open_video=open_noise,
        seed=0,
    )
    sampler = EpochSampler(5, batch_size=2, seed=0)
    options = {"batch_size": 2, "num_workers": 0, "pin_memory": False}
    loader = train_loader(clips, sampler, collate=lambda items: [label for _, label in items], **options)
    keys = [key.video for key in sampler]
    assert list(loader) == [[index % 3 for index in keys[first : first + 2]] for first in (0, 2)]
