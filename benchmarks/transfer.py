"""One epoch of a transfer with cached and with live teacher, against one epoch of the 3D network alone.

    python benchmarks/transfer.py --clips 256 --repeats 5

Renders the built-in videos on first use. All three read the same videos with the same batches and augmentation and
make as many updates: the 3D network names classes (A), is taught by cached features (B), or by a teacher that runs in
every epoch (C). The order is A B C A B C ..., so that a busy machine is unfair to all alike. Prints medians, and the
ratios B / A and C / A of each round.
"""

import argparse
import json
import statistics
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import torch
from lightning.fabric import Fabric
from torch import nn

from t3d.data.clips import EpochSampler, TrainClips, collate_train
from t3d.data.pairs import LivePictures, PairClips, Place, collate_pairs
from t3d.data.samples import Sample
from t3d.engine.classification import Classification
from t3d.engine.loading import train_loader
from t3d.engine.loop import Learner, Objective, fit
from t3d.engine.matching import Matching
from t3d.engine.optimisation import build_optimizer, build_schedule
from t3d.engine.teacher_cache import TeacherCache, cache_facts, fill_cache, identity_of
from t3d.models import create_model
from t3d.models.matching import Matcher, MatchingNetwork
from t3d.models.teachers import FrozenTeacher, load_teacher
from t3d.presets import TRANSFER_PRESETS
from t3d.recipes.datasets import BUILT_IN, resolve
from t3d.video.decode import open_video

SETTINGS = TRANSFER_PRESETS["quick"].config
Epoch = Callable[[], None]


class _Nothing:
    """Hooks that do nothing."""

    def on_step(self, learner: Learner) -> None:
        """Nothing."""

    def on_epoch(self, learner: Learner) -> None:
        """Nothing."""

    def save(self, learner: Learner) -> None:
        """Nothing."""


def main() -> None:
    """Measure, and print what was measured."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--clips", type=int, default=256, help="clips in an epoch")
    parser.add_argument("--repeats", type=int, default=5, help="rounds of all three")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads(), help="CPU threads of torch")
    parser.add_argument("--workers", type=int, default=SETTINGS.run.workers, help="processes that decode")
    parser.add_argument("--arch", default=SETTINGS.model.arch)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    videos = sorted(resolve(Path(BUILT_IN)).glob("train/*/*.mp4"))[:: max(1, 1188 // options.clips)][: options.clips]
    samples = [Sample(name=str(path), path=path, label=0, group=str(path)) for path in videos]
    teacher = load_teacher(SETTINGS.teacher.teacher, size=SETTINGS.teacher.teacher_size)
    epochs = _epochs(samples, teacher, options.arch, options.workers)
    for epoch in epochs.values():
        epoch()  # fills caches and starts workers; not measured
    seconds: dict[str, list[float]] = {name: [] for name in epochs}
    for _ in range(options.repeats):
        for name, epoch in epochs.items():
            start = time.perf_counter()
            epoch()
            seconds[name].append(time.perf_counter() - start)
    _print(seconds, {**vars(options), "torch": torch.__version__, "teacher": teacher.name})


def _epochs(samples: list[Sample], teacher: FrozenTeacher, arch: str, num_workers: int) -> dict[str, Epoch]:
    places, features = _cached(samples, teacher)
    live = LivePictures(pixels=teacher.pixels, num_pictures=SETTINGS.teacher.pictures)
    views = {"clip": SETTINGS.clip, "pixels": SETTINGS.pixels, "augment": SETTINGS.augment, "seed": 0}
    source = partial(open_video)
    pairs = partial(PairClips, draw="own", open_video=source, **views)
    alone = TrainClips(samples, open_video=source, **views)
    naming = Classification(pixels=SETTINGS.pixels)
    run = partial(_epoch, num_workers=num_workers)
    return {
        "3D network alone": run(create_model(arch, 2), alone, collate_train, naming),
        "cached teacher": run(
            _network(arch, teacher), pairs(places, features), collate_pairs, Matching(pixels=SETTINGS.pixels)
        ),
        "live teacher": run(
            _network(arch, teacher),
            pairs([Place(sample=sample) for sample in samples], live),
            collate_pairs,
            Matching(pixels=SETTINGS.pixels, teacher=teacher),
        ),
    }


def _cached(samples: list[Sample], teacher: FrozenTeacher) -> tuple[list[Place], torch.Tensor]:
    facts = cache_facts(teacher, clip=SETTINGS.clip, num_pictures=SETTINGS.teacher.pictures, most=1)
    with tempfile.TemporaryDirectory() as folder, TeacherCache(Path(folder) / "cache.sqlite", facts) as cache:
        start = time.perf_counter()
        fill_cache(cache, teacher, samples, num_workers=0)
        print(f"filling the cache once: {time.perf_counter() - start:.1f} s for {len(samples)} clips")
        found = [cache.get(identity_of(sample)) for sample in samples]
    places = [
        Place(sample=sample, start=video.starts[0])
        for sample, video in zip(samples, found, strict=True)
        if video is not None
    ]
    assert len(places) == len(samples)
    return places, torch.cat([video.features for video in found if video is not None])


def _network(arch: str, teacher: FrozenTeacher) -> MatchingNetwork:
    student = create_model(arch, 0)
    matcher = Matcher(
        student_features=student.num_features,
        teacher_features=teacher.num_features,
        normalise=SETTINGS.pairs.matcher_norm,
    )
    return MatchingNetwork(student, matcher)


def _epoch(
    model: nn.Module,
    clips: TrainClips | PairClips,
    collate: Callable[..., object],
    objective: Objective,
    *,
    num_workers: int,
) -> Epoch:
    """A function that trains for one epoch more."""
    batch_size = SETTINGS.optimizer.batch_size
    optimizer = build_optimizer(model, lr=0.01, momentum=0.9, nesterov=True, weight_decay=1e-4, layer_decay=1.0)
    schedule = build_schedule(
        optimizer, kind="plateau", num_steps=1, warmup_steps=0, steps_per_decay=1, decay_factor=1.0
    )
    learner = Learner(Fabric(accelerator="cpu", devices=1), model, optimizer, schedule, ema_decay=None)
    sampler = EpochSampler(len(clips), batch_size=batch_size, seed=0)
    loader = train_loader(
        clips, sampler, batch_size=batch_size, num_workers=num_workers, pin_memory=False, collate=collate
    )

    def epoch() -> None:
        steps = learner.progress.step + max(1, len(clips) // batch_size)
        fit(learner, loader, sampler, objective=objective, num_steps=steps, seed=0, hooks=_Nothing())

    return epoch


def _print(seconds: dict[str, list[float]], facts: dict[str, object]) -> None:
    first = next(iter(seconds.values()))
    print("| epoch | median seconds | from | to | ratio to the 3D network alone: median | from | to |")
    print("|---|---:|---:|---:|---:|---:|---:|")
    for name, values in seconds.items():
        ratios = [value / alone for value, alone in zip(values, first, strict=True)]
        figures = [
            statistics.median(values),
            min(values),
            max(values),
            statistics.median(ratios),
            min(ratios),
            max(ratios),
        ]
        print(f"| {name} | " + " | ".join(f"{figure:.3f}" for figure in figures) + " |")
    print(json.dumps({**facts, "seconds": seconds}))


if __name__ == "__main__":
    main()
