"""Turn the flags of a transfer into what learns and what it learns from: videos, teacher, looks, network, objective."""

from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import torch
from lightning.fabric import Fabric
from torch import nn

from t3d.commands import _setup as plan
from t3d.commands._console import bar, say, warn
from t3d.commands._datasets import cache_folder, find_videos, resolve
from t3d.commands._devices import computing
from t3d.commands._output import alone, make_folder
from t3d.config import TransferConfig
from t3d.data.clips import OpenVideo, RngStream, seeded
from t3d.data.samples import UNLABELLED, Sample, VideoList
from t3d.data.splits import hold_out
from t3d.data.trained_on import overlap_warning
from t3d.data.unlabelled import load_unlabelled
from t3d.errors import DataError, DecodeError
from t3d.models import create_model
from t3d.models.checkpoints import ModelCard
from t3d.transfer.matcher import ColourStatistics, Matcher, MatchingNetwork
from t3d.transfer.objective import Matching, MatchingValidator
from t3d.transfer.pairs import Draw, LivePictures, PairClips, Place
from t3d.transfer.probe import probe_features
from t3d.transfer.teacher_cache import TeacherCache, cache_facts, cache_name, fill_cache, identity_of
from t3d.transfer.teachers import FrozenTeacher, load_teacher
from t3d.video.decode import open_video

STATISTICS = "colour_statistics"


@dataclass(frozen=True, kw_only=True)
class Looks:
    """Clips with what the teacher sees of them, and the videos there are none of."""

    train: PairClips
    held_out: PairClips
    skipped: list[str]


def find_lists(config: TransferConfig) -> tuple[VideoList, VideoList]:
    """The videos to learn from, and those on which matching is measured; without labels."""
    if config.split is None:
        videos = load_unlabelled(resolve(config.data))
    else:
        videos = _without_labels(find_videos(config.data, subset="train", split=config.split, format=config.format))
    generator = seeded(config.run.seed, RngStream.HELD_OUT_VIDEOS, 0)
    return hold_out(videos, fraction=config.pairs.holdout_fraction, generator=generator)


def _without_labels(videos: VideoList) -> VideoList:
    samples = tuple(replace(sample, label=UNLABELLED) for sample in videos.samples)
    return replace(videos, samples=samples, labels=())


def find_teacher(config: TransferConfig) -> FrozenTeacher:
    """The frozen network, or the statistics of colours that stand for it in a control."""
    options = config.teacher
    if _has_no_student(config):
        return load_teacher(STATISTICS, size=options.teacher_size)
    return load_teacher(options.teacher, weights=options.teacher_weights, size=options.teacher_size)


def build_network(config: TransferConfig, teacher: FrozenTeacher) -> MatchingNetwork:
    """A fresh student, and what compares it with the teacher."""
    torch.manual_seed(config.run.seed)
    student: nn.Module = (
        ColourStatistics()
        if _has_no_student(config)
        else create_model(config.model.arch, num_classes=0, **plan.overrides(config.model))
    )
    matcher = Matcher(
        student_features=int(student.num_features),  # type: ignore[arg-type]
        teacher_features=teacher.num_features,
        normalise=config.pairs.matcher_norm,
    )
    return MatchingNetwork(student, matcher)


def describe(config: TransferConfig, videos: VideoList, teacher: FrozenTeacher, *, command: str) -> ModelCard:
    """The card of the student's weights: a network without classes."""
    return ModelCard(
        arch=STATISTICS if _has_no_student(config) else config.model.arch,
        overrides=plan.overrides(config.model),
        labels=(),
        clip=config.clip,
        pixels=config.pixels,
        training={
            "task": "transfer",
            "dataset": str(config.data.resolve()) if config.data.exists() else str(config.data),
            "split": config.split,
            "split_text": videos.split,
            "seed": config.run.seed,
            "preset": config.preset,
            "teacher": {"name": teacher.name, "fingerprint": teacher.fingerprint, "features": teacher.num_features},
            "command": command,
            "lineage": [],
        },
    )


def look(
    config: TransferConfig, teacher: FrozenTeacher, videos: VideoList, held_out: VideoList, fabric: Fabric
) -> Looks:
    """Pair clips with what the teacher sees of them: at once and for all, or as they come.

    Raises:
        DataError: Fewer than two videos or groups are left on one side.
    """
    if config.teacher.live:
        cut = LivePictures(pixels=teacher.pixels, num_pictures=config.teacher.pictures)
        train, judged = ([Place(sample=sample) for sample in _by_group(part.samples)] for part in (videos, held_out))
        return Looks(
            train=_pairs(config, train, cut), held_out=_pairs(config, judged, cut, is_held_out=True), skipped=[]
        )
    with _cache(config, teacher) as cache:
        skipped = _fill(config, cache, teacher, [*videos.samples, *held_out.samples], fabric)
        parts = [_cached(config, cache, part, skipped) for part in (videos, held_out)]
    return Looks(train=_pairs(config, *parts[0]), held_out=_pairs(config, *parts[1], is_held_out=True), skipped=skipped)


def build_objective(config: TransferConfig, teacher: FrozenTeacher) -> Matching:
    """What an update minimises."""
    options = config.optimizer
    return Matching(
        pixels=config.pixels,
        teacher=teacher if config.teacher.live else None,
        in_batch=config.pairs.negatives == "in-batch",
        contrastive=config.pairs.contrastive,
        compiled=config.run.compile,
        accumulate=options.accumulate,
        clip_norm=options.clip_norm,
        skip_bad_videos=config.run.bad_videos == "skip",
        computing=partial(computing, precision=config.run.precision),
    )


def build_validator(config: TransferConfig, held_out: PairClips, teacher: FrozenTeacher) -> MatchingValidator:
    """What measures matching between epochs."""
    objective = Matching(pixels=config.pixels, teacher=teacher if config.teacher.live else None, in_batch=False)
    return MatchingValidator(
        held_out, objective, batch_size=config.optimizer.batch_size, num_workers=config.run.workers
    )


def find_probe(config: TransferConfig) -> tuple[VideoList, VideoList] | None:
    """Labelled training and test videos on which the frozen student is to be judged, where some were named."""
    options = config.probe
    if options.probe is None:
        return None
    find = partial(find_videos, options.probe, split=options.probe_split, format=options.probe_format)
    return find(subset="train"), find(subset="test")


def probe(
    config: TransferConfig, student: nn.Module, card: ModelCard, lists: tuple[VideoList, VideoList]
) -> dict[str, Any]:
    """What the frozen student is worth on labelled videos.

    Raises:
        DataError: None of the training videos, or none of the test videos, can be decoded.
    """
    options, (train, test) = config.probe, lists
    say(f"probing the frozen network on {len(train.samples)} + {len(test.samples)} videos of {options.probe}")
    top1 = probe_features(student.eval(), train, test, card, num_workers=config.run.workers, source=_source(config))
    warning = overlap_warning(config.output, test)
    if warning:
        warn(warning)
    return {"data": str(options.probe), "split": test.split, "level": "video", "top1": top1, "warning": warning}


def _has_no_student(config: TransferConfig) -> bool:
    """Whether statistics of colours stand for both networks."""
    return config.pairs.control == "colour-statistics"


def _source(config: TransferConfig) -> OpenVideo:
    return partial(open_video, backend=config.run.backend)


def _cache(config: TransferConfig, teacher: FrozenTeacher) -> TeacherCache:
    facts = cache_facts(teacher, clip=config.clip, num_pictures=config.teacher.pictures, most=config.teacher.windows)
    return TeacherCache(make_folder(cache_folder() / "teacher") / f"{cache_name(facts)}.sqlite", facts)


def _fill(
    config: TransferConfig, cache: TeacherCache, teacher: FrozenTeacher, samples: list[Sample], fabric: Fabric
) -> list[str]:
    """Compute what the cache lacks, one process at a time: the others then find it done."""
    with alone(cache.path.with_suffix(".lock")), bar("teacher", total=None) as shown:
        say(f"features of {teacher.name} are kept in {cache.path}")
        task = shown.task_ids[0]
        try:
            skipped = fill_cache(
                cache,
                teacher,
                samples,
                num_workers=config.run.workers,
                device=fabric.device,
                source=_source(config),
                progress=lambda done, total: shown.update(task, completed=done, total=total),
            )
        except KeyboardInterrupt:
            say("the features computed so far are kept: the same command goes on from there")
            raise
        if cache.damaged:
            warn(f"{cache.path}: {cache.damaged} damaged entries were computed anew")
    if skipped and config.run.bad_videos == "stop":
        raise DataError(f"{skipped[0]}; or go on without such videos by --bad-videos skip")
    return skipped


def _cached(
    config: TransferConfig, cache: TeacherCache, videos: VideoList, skipped: list[str]
) -> tuple[list[Place], torch.Tensor]:
    """Places and their features (places, D), as the cache has them."""
    places: list[Place] = []
    features = []
    for sample in _by_group(videos.samples):
        try:
            video = cache.get(identity_of(sample))
        except DecodeError:  # named when the cache was filled
            continue
        if video is not None:
            places.extend(Place(sample=sample, start=start) for start in video.starts)
            features.append(video.features)
    _check_enough(places, videos, skipped)
    looks = torch.cat(features)
    if config.pairs.control == "shuffled-pairs":
        looks = looks[exchange(places, config.run.seed)]
    return places, looks.share_memory_()


def _by_group(samples: tuple[Sample, ...]) -> list[Sample]:
    return sorted(samples, key=lambda sample: sample.group)


def _check_enough(places: list[Place], videos: VideoList, skipped: list[str]) -> None:
    num_groups = len({place.sample.group for place in places})
    if num_groups < 2:
        broken = "; ".join(skipped[:3]) or "none"
        raise DataError(
            f"{videos.root}: {num_groups} groups are left on one side of the hold-out, and 2 are needed; add videos or "
            f"raise --holdout-fraction (videos that cannot be decoded: {broken})"
        )


def exchange(places: list[Place], seed: int) -> torch.Tensor:
    """A permutation for the control: each place gets the look of a place of another group, where those suffice."""
    members: dict[str, list[int]] = {}
    for index, place in enumerate(places):
        members.setdefault(place.sample.group, []).append(index)
    groups = list(members.values())
    shuffled = torch.randperm(len(groups), generator=seeded(seed, RngStream.EXCHANGED_PAIRS, 0)).tolist()
    order = torch.tensor([index for number in shuffled for index in groups[number]])
    exchanged = torch.empty_like(order)
    exchanged[order] = order.roll(max(map(len, groups)))
    return exchanged


def _pairs(
    config: TransferConfig, places: list[Place], looks: torch.Tensor | LivePictures, *, is_held_out: bool = False
) -> PairClips:
    draw: Draw = "own" if config.pairs.negatives == "in-batch" else "independent"
    return PairClips(
        places,
        looks,
        draw="both" if is_held_out else draw,
        hard=config.pairs.hard_negatives and not is_held_out,
        clip=config.clip,
        pixels=config.pixels,
        augment=config.augment,
        open_video=_source(config),
        seed=config.run.seed,
    )
