"""An epoch of a transfer with cached and with live teacher, against one of the 3D network alone.

All three read the same videos with the same batches and augmentation and make as many updates: the 3D network names
classes, is taught by features computed once, or by a teacher that runs in every epoch.
"""

import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import torch
from lightning_fabric import Fabric
from torch import Tensor, nn
from torch.utils.data import Dataset

from benchmarks.options import Options
from benchmarks.tables import times_the_time
from t3d.bench.experiments import Experiment, Findings, Work, run_experiments
from t3d.bench.rounds import Step, Variant
from t3d.bench.tables import Row, Target
from t3d.commands._datasets import BUILT_IN, resolve
from t3d.config.presets import transfer_preset
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

_CLIPS = 192
"""Of an epoch."""


@dataclass(frozen=True, kw_only=True)
class Setting:
    """What all variants have in common, and the teacher."""

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


def run(options: Options) -> Findings:
    """Time epochs of the built-in videos, by the settings of the quick transfer."""
    quick, count = transfer_preset("quick"), options.clips or _CLIPS
    videos = sorted(resolve(Path(BUILT_IN)).glob("train/*/*.mp4"))
    setting = Setting(
        videos=videos[:: max(1, len(videos) // count)][:count],
        arch="",
        clip=quick.clip,
        pixels=quick.pixels,
        augment=quick.augment,
        batch_size=options.batch_size or quick.optimizer.batch_size,
        num_workers=quick.run.workers,
        teacher=quick.teacher.teacher,
        teacher_size=quick.teacher.teacher_size,
        num_pictures=quick.teacher.pictures,
    )
    archs = options.arch or (quick.model.arch,)
    experiments = [transfer_experiment(replace(setting, arch=arch), rounds=options.timed_rounds) for arch in archs]
    rows, _ = run_experiments(experiments, threads=options.cpu_threads)
    tables = [experiment.table(own) for experiment, own in zip(experiments, rows, strict=True)]
    return Findings(tables=[table.figures() for table in tables])


def transfer_experiment(setting: Setting, *, rounds: int) -> Experiment:
    """Epochs with and without a teacher, and the filling of its cache, which a transfer does once."""
    work = [
        Work(variant=Variant(name=name, build=build, arguments={"setting": setting}))
        for name, build in _VARIANTS.items()
    ]
    return Experiment(
        title=f"Epoch of {len(setting.videos)} clips, {setting.arch}, teacher {setting.teacher}",
        work=work,
        rounds=rounds,
        ratio="x the time",
        targets=_targets,
        notes=[f"{setting.num_workers} decoding processes, whose memory is not counted."],
    )


def _targets(rows: Sequence[Row]) -> list[Target]:
    reached = times_the_time(rows, "cached teacher")
    return [Target(what="cached teacher against none", unit="x the time", bound=1.05, reached=reached)]


def alone(*, setting: Setting) -> Step:
    """The 3D network names classes."""
    clips = TrainClips(setting.samples, **_views(setting))
    objective = Classification(pixels=setting.pixels)
    return _epoch(setting, create_model(setting.arch, 2), clips=clips, collate=collate_train, objective=objective)


def cached(*, setting: Setting) -> Step:
    """The 3D network is taught by features that were computed before."""
    teacher = load_teacher(setting.teacher, size=setting.teacher_size)
    places, features = _features(setting, teacher)
    pairs = PairClips(places, features, draw="own", **_views(setting))
    objective = Matching(pixels=setting.pixels)
    return _epoch(setting, _network(setting, teacher), clips=pairs, collate=collate_pairs, objective=objective)


def live(*, setting: Setting) -> Step:
    """The 3D network is taught by a teacher that runs on every clip of every epoch."""
    teacher = load_teacher(setting.teacher, size=setting.teacher_size)
    pictures = LivePictures(pixels=teacher.pixels, num_pictures=setting.num_pictures)
    places = [Place(sample=sample) for sample in setting.samples]
    pairs = PairClips(places, pictures, draw="own", **_views(setting))
    objective = Matching(pixels=setting.pixels, teacher=teacher)
    return _epoch(setting, _network(setting, teacher), clips=pairs, collate=collate_pairs, objective=objective)


def filling(*, setting: Setting) -> Step:
    """The features of the cached teacher are computed, once for all epochs."""
    teacher = load_teacher(setting.teacher, size=setting.teacher_size)
    return lambda: _features(setting, teacher)


_VARIANTS: dict[str, Callable[..., Step]] = {
    "3D network alone": alone,
    "cached teacher": cached,
    "live teacher": live,
    "filling the cache, once": filling,
}


class _Nothing:
    """Callbacks that do nothing."""

    def on_step(self, learner: Learner) -> None:
        """Nothing."""

    def on_epoch(self, learner: Learner) -> None:
        """Nothing."""

    def save(self, learner: Learner) -> None:
        """Nothing."""


def _views(setting: Setting) -> dict[str, Any]:
    """How a video becomes a clip."""
    return {
        "clip": setting.clip,
        "pixels": setting.pixels,
        "augment": setting.augment,
        "seed": 0,
        "open_video": partial(open_video),
    }


def _features(setting: Setting, teacher: FrozenTeacher) -> tuple[list[Place], Tensor]:
    facts = cache_facts(teacher, clip=setting.clip, num_pictures=setting.num_pictures, most=1)
    with tempfile.TemporaryDirectory() as folder, TeacherCache(Path(folder) / "cache.sqlite", facts) as cache:
        fill_cache(cache, teacher, setting.samples, num_workers=0)
        seen = [(sample, cache.get(identity_of(sample))) for sample in setting.samples]
    known = [(sample, video) for sample, video in seen if video is not None]
    places = [Place(sample=sample, start=video.starts[0]) for sample, video in known]
    return places, torch.cat([video.features for _, video in known])


def _network(setting: Setting, teacher: FrozenTeacher) -> MatchingNetwork:
    student = create_model(setting.arch, 0)
    return MatchingNetwork(
        student, Matcher(student_features=student.num_features, teacher_features=teacher.num_features)
    )


def _epoch(
    setting: Setting,
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
    sampler = EpochSampler(len(setting.videos), batch_size=setting.batch_size, seed=0)
    loader = train_loader(
        clips,
        sampler,
        batch_size=setting.batch_size,
        num_workers=setting.num_workers,
        pin_memory=False,
        collate=collate,
    )

    def epoch() -> None:
        steps = learner.progress.step + max(1, len(setting.videos) // setting.batch_size)
        fit(learner, loader, sampler, objective=objective, num_steps=steps, seed=0, callbacks=_Nothing())

    return epoch
