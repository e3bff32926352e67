"""An epoch of a transfer with cached and with live teacher, against one of the 3D network alone.

All three read the same videos with the same batches and augmentation and make as many updates: the 3D network names
classes, is taught by features computed once, or by a teacher that runs in every epoch.
"""

import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch
from lightning_fabric import Fabric
from torch import Tensor, nn
from torch.utils.data import Dataset

from t3d.bench.rounds import Arm, Step, measure
from t3d.bench.tables import Row, Table, Target, times_the_time
from t3d.data.clips import EpochSampler, TrainClips, collate_train
from t3d.data.samples import Sample
from t3d.models import create_model
from t3d.training.loader import train_loader
from t3d.training.loop import Learner, Objective, fit
from t3d.training.objective import Classification
from t3d.training.optim import build_optimizer, build_schedule
from t3d.transfer.matcher import Matcher, MatchingNetwork
from t3d.transfer.objective import Matching
from t3d.transfer.pairs import LivePictures, PairClips, Place, collate_pairs
from t3d.transfer.teacher_cache import TeacherCache, cache_facts, fill_cache, identity_of
from t3d.transfer.teachers import FrozenTeacher, load_teacher
from t3d.video.decode import open_video
from t3d.video.spec import AugmentSpec, ClipSpec, PixelSpec


@dataclass(frozen=True, kw_only=True)
class Lesson:
    """What all three have in common, and the teacher."""

    videos: Sequence[Path]
    arch: str
    clip: ClipSpec
    pixels: PixelSpec
    augment: AugmentSpec
    batch_size: int
    num_workers: int
    teacher: str
    teacher_size: int | None
    num_pictures: int

    @property
    def samples(self) -> list[Sample]:
        """The videos, each a group of its own."""
        return [Sample(name=str(path), path=path, label=0, group=str(path)) for path in self.videos]


def bench_transfer(lesson: Lesson, *, rounds: int, threads: int) -> Table:
    """Time epochs; filling the cache, which happens once, is not in them."""
    arms = [Arm(name=name, build=build, arguments={"lesson": lesson}) for name, build in _EPOCHS.items()]
    rows = [Row(measured=measured) for measured in measure(arms, rounds=rounds, threads=threads)]
    cached = times_the_time(rows, "cached teacher")
    return Table(
        title=f"Epoch of {len(lesson.videos)} clips, {lesson.arch}, teacher {lesson.teacher}",
        rows=rows,
        ratio="x the time",
        targets=[Target(what="cached teacher against none", unit="x the time", bound=1.05, reached=cached)],
        notes=[f"{lesson.num_workers} decoding processes, whose memory is not counted."],
    )


def alone(*, lesson: Lesson) -> Step:
    """The 3D network names classes."""
    clips = TrainClips(lesson.samples, **_looks(lesson))
    objective = Classification(pixels=lesson.pixels)
    return _epoch(lesson, create_model(lesson.arch, 2), clips=clips, collate=collate_train, objective=objective)


def cached(*, lesson: Lesson) -> Step:
    """The 3D network is taught by features that were computed before."""
    teacher = load_teacher(lesson.teacher, size=lesson.teacher_size)
    places, features = _features(lesson, teacher)
    pairs = PairClips(places, features, draw="own", **_looks(lesson))
    objective = Matching(pixels=lesson.pixels)
    return _epoch(lesson, _network(lesson, teacher), clips=pairs, collate=collate_pairs, objective=objective)


def live(*, lesson: Lesson) -> Step:
    """The 3D network is taught by a teacher that looks at every clip anew."""
    teacher = load_teacher(lesson.teacher, size=lesson.teacher_size)
    pictures = LivePictures(pixels=teacher.pixels, num_pictures=lesson.num_pictures)
    places = [Place(sample=sample) for sample in lesson.samples]
    pairs = PairClips(places, pictures, draw="own", **_looks(lesson))
    objective = Matching(pixels=lesson.pixels, teacher=teacher)
    return _epoch(lesson, _network(lesson, teacher), clips=pairs, collate=collate_pairs, objective=objective)


_EPOCHS: dict[str, Callable[..., Step]] = {"3D network alone": alone, "cached teacher": cached, "live teacher": live}


class _Nothing:
    """Callbacks that do nothing."""

    def on_step(self, learner: Learner) -> None:
        """Nothing."""

    def on_epoch(self, learner: Learner) -> None:
        """Nothing."""

    def save(self, learner: Learner) -> None:
        """Nothing."""


def _looks(lesson: Lesson) -> dict[str, Any]:
    """How a video becomes a clip."""
    return {
        "clip": lesson.clip,
        "pixels": lesson.pixels,
        "augment": lesson.augment,
        "seed": 0,
        "open_video": partial(open_video),
    }


def _features(lesson: Lesson, teacher: FrozenTeacher) -> tuple[list[Place], Tensor]:
    facts = cache_facts(teacher, clip=lesson.clip, num_pictures=lesson.num_pictures, most=1)
    with tempfile.TemporaryDirectory() as folder, TeacherCache(Path(folder) / "cache.sqlite", facts) as cache:
        fill_cache(cache, teacher, lesson.samples, num_workers=0)
        seen = [(sample, cache.get(identity_of(sample))) for sample in lesson.samples]
    known = [(sample, video) for sample, video in seen if video is not None]
    places = [Place(sample=sample, start=video.starts[0]) for sample, video in known]
    return places, torch.cat([video.features for _, video in known])


def _network(lesson: Lesson, teacher: FrozenTeacher) -> MatchingNetwork:
    student = create_model(lesson.arch, 0)
    return MatchingNetwork(
        student, Matcher(student_features=student.num_features, teacher_features=teacher.num_features)
    )


def _epoch(
    lesson: Lesson,
    network: nn.Module,
    *,
    clips: "Dataset[Any]",
    collate: Callable[[Sequence[Any]], Any],
    objective: Objective,
) -> Step:
    """A step is one epoch more of training."""
    optimizer = build_optimizer(network, lr=0.01, momentum=0.9, nesterov=True, weight_decay=1e-4, layer_decay=1.0)
    schedule = build_schedule(
        optimizer, kind="plateau", num_steps=1, warmup_steps=0, steps_per_decay=1, decay_factor=1.0
    )
    learner = Learner(Fabric(accelerator="cpu", devices=1), network, optimizer, schedule, ema_decay=None)
    sampler = EpochSampler(len(lesson.videos), batch_size=lesson.batch_size, seed=0)
    loader = train_loader(
        clips,
        sampler,
        batch_size=lesson.batch_size,
        num_workers=lesson.num_workers,
        pin_memory=False,
        collate=collate,
    )

    def epoch() -> None:
        steps = learner.progress.step + max(1, len(lesson.videos) // lesson.batch_size)
        fit(learner, loader, sampler, objective=objective, num_steps=steps, seed=0, callbacks=_Nothing())

    return epoch
