"""Train a 3D network to match a frozen 2D one, without labels, into a run folder for `t3d train --init`."""

import json
import shlex
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields, replace
from functools import partial
from typing import Any

import torch
from torch import nn

from t3d.commands._console import bar, log, warn
from t3d.commands._datasets import cache_folder, find_videos, resolve
from t3d.commands._devices import computing, launched
from t3d.commands._training import (
    build_devices,
    build_learner,
    check_clips,
    dataset_name,
    default_flags,
    flags_of,
    learn,
    network_overrides,
    outline_network,
    shape_of,
    with_flags,
)
from t3d.config import ProbeOptions, TransferConfig
from t3d.config.presets import preset
from t3d.data.clips import OpenVideo, RngStream, seeded
from t3d.data.samples import UNLABELLED, Sample, VideoList
from t3d.data.splits import hold_out
from t3d.data.trained_on import overlap_warning
from t3d.data.unlabelled import load_unlabelled
from t3d.errors import DataError, T3DError
from t3d.evaluation.plots import save_figure, training_figure
from t3d.files import claimed, locked, make_folder, write_csv, write_text
from t3d.models import create_model
from t3d.models.checkpoints import ModelCard, file_hash
from t3d.run_files import FIGURE_NAME, MATCHER_NAME, SKIPPED_NAME, SUMMARY_NAME, weights_file
from t3d.training.learner import Learner
from t3d.training.loader import build_loader, count_updates
from t3d.training.run_dir import open_run
from t3d.transfer.matcher import ColourStatistics, MatchingNetwork, save_matcher
from t3d.transfer.objective import Matching, MatchingValidator
from t3d.transfer.pairs import LivePictures, PairClips, collate_pairs
from t3d.transfer.probe import probe_features
from t3d.transfer.setup import STATISTICS, TransferData, cached_places, exchange, live_places, match_with
from t3d.transfer.teacher_cache import TeacherCache, cache_facts, cache_name, fill_cache
from t3d.transfer.teachers import FrozenTeacher, load_teacher
from t3d.video.decode import open_video

MEASURE = "matching"


@dataclass(frozen=True, kw_only=True)
class TransferResult:
    """Result of a transfer; also written as `training.json`."""

    output: str
    steps: int
    epochs: int
    seconds: float
    train_matching: float
    held_out_matching: float
    """Share of right answers on videos nothing was learnt from: matches and mismatches, half each."""
    held_out_clips: int
    clips: int
    """Places that clips are taken from in one epoch."""
    teacher: dict[str, Any]
    probe: dict[str, Any] | None
    checkpoint_sha256: str
    skipped_videos: int


def run(config: TransferConfig, *, command: str) -> TransferResult:
    """Transfer; the run folder then contains a network without classifier, flags and log."""
    flags = flags_of(config)
    overrides = network_overrides(config.model, config.pixels)
    outline = outline_network(config.model.arch, overrides, config.run)
    check_clips(outline, shape_of(flags, 2 if config.run.bad_videos == "skip" else config.optimizer.batch_size))

    videos, held_out = find_lists(config)
    labelled = find_probe_lists(config.probe)
    teacher = find_teacher(config)
    network = build_network(config, overrides, teacher)
    card = describe(config, overrides, videos, teacher, command=command)
    fabric = build_devices(config.run, outline, shape_of(flags, config.optimizer.batch_size))
    source = partial(open_video, backend=config.run.backend)
    num_workers = config.run.workers

    with claimed(config.output):
        state = open_run(
            config.output,
            card,
            videos,
            flags=asdict(config),
            defaults=default_flags(config),
            resume=config.resume,
            overwrite=config.overwrite,
        )
        with launched(fabric):
            teacher.to(fabric.device)
            for line in videos.warnings:
                warn(line)
            data = find_pairs(config, teacher, videos, held_out, source=source, device=fabric.device)
            length = with_flags(count_updates, flags, len(data.train), world_size=fabric.world_size, fewest=2)
            learner = build_learner(flags, fabric, network, length)
            if state is not None:
                learner.load_state_dict(state)
            log(f"teaching {config.model.arch} by {teacher.name}: {len(data.train)} clips, {length.num_steps} updates")
            batches = with_flags(
                build_loader, flags, data.train, fabric, num_workers=num_workers, collate=collate_pairs
            )
            objective, validator = build_objective(config, flags, teacher, data)
            learn(
                flags,
                learner,
                batches,
                objective=objective,
                length=length,
                card=card,
                measure=MEASURE,
                validate=validator,
                keep_best=False,
                part=_student,
            )
            skipped = [*data.skipped, *learner.progress.skipped]
            _save(config, learner, card, teacher, skipped=skipped)
            probed = None
            if labelled is not None and fabric.is_global_zero:
                student = _student(learner.result)
                probed = probe(config, student, card, labelled, source=source)
            fabric.barrier()
            return _finish(config, learner, card, data, probed, num_skipped=len(skipped))


def find_lists(config: TransferConfig) -> tuple[VideoList, VideoList]:
    """Training and held-out videos, without labels."""
    if config.split is None:
        videos = load_unlabelled(resolve(config.data))
    else:
        labelled = find_videos(config.data, subset="train", split=config.split, format=config.format)
        samples = tuple(replace(sample, label=UNLABELLED) for sample in labelled.samples)
        videos = replace(labelled, samples=samples, labels=())
    generator = seeded(config.run.seed, RngStream.HELD_OUT_VIDEOS, 0)
    return hold_out(videos, fraction=config.pairs.holdout_fraction, generator=generator)


def find_probe_lists(options: ProbeOptions) -> tuple[VideoList, VideoList] | None:
    """Labelled training and test videos of --probe, if given."""
    if options.probe is None:
        return None
    find = partial(find_videos, options.probe, split=options.probe_split, format=options.probe_format)
    return find(subset="train"), find(subset="test")


def find_teacher(config: TransferConfig) -> FrozenTeacher:
    """The frozen network, or the colour statistics that replace it in a control."""
    options = config.teacher
    if _has_no_student(config):
        return load_teacher(STATISTICS, size=options.teacher_size)
    return load_teacher(options.teacher, weights=options.teacher_weights, size=options.teacher_size)


def build_network(config: TransferConfig, overrides: Mapping[str, Any], teacher: FrozenTeacher) -> MatchingNetwork:
    """The random student and its matcher."""
    torch.manual_seed(config.run.seed)
    student: nn.Module = (
        ColourStatistics() if _has_no_student(config) else create_model(config.model.arch, num_classes=0, **overrides)
    )
    return match_with(student, teacher_features=teacher.num_features, matcher_norm=config.pairs.matcher_norm)


def describe(
    config: TransferConfig, overrides: Mapping[str, Any], videos: VideoList, teacher: FrozenTeacher, *, command: str
) -> ModelCard:
    """Model card of the student: a network without classes."""
    return ModelCard(
        arch=STATISTICS if _has_no_student(config) else config.model.arch,
        overrides=overrides,
        labels=(),
        clip=config.clip,
        pixels=config.pixels,
        training={
            "task": "transfer",
            "dataset": dataset_name(config.data),
            "split": config.split,
            "split_text": videos.split,
            "seed": config.run.seed,
            "preset": config.preset,
            "teacher": {"name": teacher.name, "fingerprint": teacher.fingerprint, "features": teacher.num_features},
            "command": command,
            "lineage": [],
        },
    )


def find_pairs(
    config: TransferConfig,
    teacher: FrozenTeacher,
    videos: VideoList,
    held_out: VideoList,
    *,
    source: OpenVideo,
    device: torch.device,
) -> TransferData:
    """Pair clips with teacher views: cached features, or images for a live teacher.

    Raises:
        DataError: Fewer than two groups are left on one side, or a video cannot be decoded and must not be skipped.
    """
    clips = partial(with_flags, PairClips, flags_of(config), open_video=source)
    draw = "own" if config.pairs.negatives == "in-batch" else "independent"
    train = partial(clips, draw=draw, hard=config.pairs.hard_negatives)
    validation = partial(clips, draw="both")
    if config.teacher.live:
        cut = LivePictures(pixels=teacher.pixels, num_pictures=config.teacher.pictures)
        return TransferData(
            train=train(live_places(videos), cut), held_out=validation(live_places(held_out), cut), skipped=[]
        )
    facts = cache_facts(teacher, clip=config.clip, num_pictures=config.teacher.pictures, most=config.teacher.windows)
    with TeacherCache(make_folder(cache_folder() / "teacher") / f"{cache_name(facts)}.sqlite", facts) as cache:
        skipped = _fill(
            cache,
            teacher,
            [*videos.samples, *held_out.samples],
            num_workers=config.run.workers,
            source=source,
            device=device,
        )
        if skipped and config.run.bad_videos == "stop":
            raise DataError(f"{skipped[0]}; or go on without such videos by --bad-videos skip")
        parts = []
        for part in (videos, held_out):
            places, features = cached_places(cache, part, skipped=skipped)
            if config.pairs.control == "shuffled-pairs":
                features = features[exchange(places, config.run.seed)]
            parts.append((places, features.share_memory_()))
    return TransferData(train=train(*parts[0]), held_out=validation(*parts[1]), skipped=skipped)


def build_objective(
    config: TransferConfig, flags: Mapping[str, Any], teacher: FrozenTeacher, data: TransferData
) -> tuple[Matching, MatchingValidator]:
    """What an update minimises, and what measures matching on held-out videos."""
    live_teacher = teacher if config.teacher.live else None
    objective = with_flags(
        Matching,
        flags,
        teacher=live_teacher,
        in_batch=config.pairs.negatives == "in-batch",
        compiled=config.run.compile,
        skip_bad_videos=config.run.bad_videos == "skip",
        computing=partial(computing, precision=config.run.precision),
    )
    validator = MatchingValidator(
        data.held_out,
        Matching(pixels=config.pixels, teacher=live_teacher, in_batch=False),
        batch_size=config.optimizer.batch_size,
        num_workers=config.run.workers,
    )
    return objective, validator


def probe(
    config: TransferConfig,
    student: nn.Module,
    card: ModelCard,
    labelled: tuple[VideoList, VideoList],
    *,
    source: OpenVideo,
) -> dict[str, Any]:
    """Evaluate the frozen student on labelled videos.

    Raises:
        DataError: None of the training videos, or none of the test videos, can be decoded.
    """
    data, (train, test) = config.probe.probe, labelled
    log(f"probing the frozen network on {len(train.samples)} + {len(test.samples)} videos of {data}")
    top1 = probe_features(student.eval(), train, test, card, num_workers=config.run.workers, source=source)
    warning = overlap_warning(config.output, test)
    if warning:
        warn(warning)
    return {"data": str(data), "split": test.split, "level": "video", "top1": top1, "warning": warning}


def show(result: TransferResult, config: TransferConfig) -> int:
    """Print the result and the next command."""
    print(f"{result.output}: {result.steps} updates, {result.epochs} epochs, {result.seconds:.0f} s")
    print(
        f"matching on held-out videos: {result.held_out_matching:.1%} of {2 * result.held_out_clips} pairs "
        "(chance 50 %)"
    )
    for name, share in (result.probe or {}).get("top1", {}).items():
        print(f"frozen network on {config.probe.probe}, {name}: {share:.1%} of test videos")
    print(f"next: t3d train DATA --init {shlex.quote(result.output)} {_network_flags(config)}")
    return 0


def _has_no_student(config: TransferConfig) -> bool:
    """Whether colour statistics replace both networks."""
    return config.pairs.control == "colour-statistics"


def _student(network: nn.Module) -> nn.Module:
    assert isinstance(network, MatchingNetwork)
    return network.student


def _fill(
    cache: TeacherCache,
    teacher: FrozenTeacher,
    samples: list[Sample],
    *,
    num_workers: int,
    source: OpenVideo,
    device: torch.device,
) -> list[str]:
    """Compute missing features, one process at a time: the others then find them in the cache."""
    with locked(cache.path.with_suffix(".lock")), bar("teacher", total=None) as shown:
        log(f"features of {teacher.name} are kept in {cache.path}")
        task = shown.task_ids[0]
        try:
            skipped = fill_cache(
                cache,
                teacher,
                samples,
                num_workers=num_workers,
                device=device,
                source=source,
                progress=lambda done, total: shown.update(task, completed=done, total=total),
            )
        except KeyboardInterrupt:
            log("the features computed so far are kept: the same command goes on from there")
            raise
        if cache.damaged:
            warn(f"{cache.path}: {cache.damaged} damaged entries were computed anew")
    return skipped


def _save(
    config: TransferConfig, learner: Learner, card: ModelCard, teacher: FrozenTeacher, *, skipped: list[str]
) -> None:
    """Write the files specific to a transfer, besides the weights."""
    if teacher.fingerprint != card.training["teacher"]["fingerprint"]:
        raise T3DError(f"teacher {teacher.name} has changed while it taught; its network must not learn by itself")
    if not learner.fabric.is_global_zero:
        return
    folder, network = config.output, learner.result
    assert isinstance(network, MatchingNetwork)
    save_matcher(folder / MATCHER_NAME, network.matcher)
    save_figure(training_figure(learner.progress.rows, measure=MEASURE), folder / FIGURE_NAME)
    if skipped:
        warn(f"{len(skipped)} videos could not be decoded and were left out: see {folder / SKIPPED_NAME}")
        write_csv(folder / SKIPPED_NAME, [{"error": line} for line in skipped])


def _finish(
    config: TransferConfig,
    learner: Learner,
    card: ModelCard,
    data: TransferData,
    probed: dict[str, Any] | None,
    *,
    num_skipped: int,
) -> TransferResult:
    folder, progress = config.output, learner.progress
    last = progress.rows[-1]
    result = TransferResult(
        output=str(folder),
        steps=progress.step,
        epochs=len(progress.rows),
        seconds=round(progress.seconds, 1),
        train_matching=last[f"train_{MEASURE}"],
        held_out_matching=last[f"validation_{MEASURE}"],
        held_out_clips=len(data.held_out),
        clips=len(data.train),
        teacher=dict(card.training["teacher"]),
        probe=probed,
        checkpoint_sha256=file_hash(weights_file(folder)),
        skipped_videos=num_skipped,
    )
    if learner.fabric.is_global_zero:
        write_text(folder / SUMMARY_NAME, json.dumps(asdict(result), indent=2) + "\n")
    return result


def _network_flags(config: TransferConfig) -> str:
    """Flags of `t3d train` for the same network and clips."""
    usual = preset("quick")
    flags = ["--arch", config.model.arch]
    if config.model.twin:
        flags += ["--inflate", "centre"]
    for given, default in ((config.model, usual.model), (config.clip, usual.clip), (config.pixels, usual.pixels)):
        for field in fields(given):
            value = getattr(given, field.name)
            if field.name not in ("arch", "twin") and value != getattr(default, field.name):
                flags += [f"--{field.name.replace('_', '-')}", *_as_words(value)]
    return shlex.join(flags)


def _as_words(value: object) -> list[str]:
    if value is True:
        return []
    return [str(item) for item in value] if isinstance(value, tuple) else [str(value)]
