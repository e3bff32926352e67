"""Train a network on labelled videos into a run folder."""

import json
import shlex
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from functools import partial
from typing import Any

import torch
from torch import nn

from t3d.commands._console import log, warn
from t3d.commands._datasets import find_videos, video_source
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
from t3d.config import TrainConfig
from t3d.data.clips import TrainClips
from t3d.data.samples import NoSuchSubsetError, VideoList
from t3d.data.splits import check_disjoint, draw_labels, draw_validation
from t3d.errors import DataError
from t3d.evaluation.plots import save_figure, training_figure
from t3d.files import claimed, write_csv, write_text
from t3d.models import create_model
from t3d.models.checkpoints import ModelCard, file_hash
from t3d.run_files import FIGURE_NAME, SKIPPED_NAME, SUMMARY_NAME, weights_file
from t3d.training.learner import Learner
from t3d.training.loader import build_loader, class_weights, count_updates, drawing_weights
from t3d.training.objective import Classification
from t3d.training.optim import freeze_stages
from t3d.training.run_dir import open_run
from t3d.training.start import initialise
from t3d.training.validation import Validator
from t3d.transfer.matcher import WIDTH, keep_fc


@dataclass(frozen=True, kw_only=True)
class TrainResult:
    """Result of a training; also written as `training.json`."""

    output: str
    steps: int
    epochs: int
    seconds: float
    train_top1: float
    """Of the last epoch."""
    kept_epoch: int
    """Whose weights these are: the best on validation videos, or the last."""
    validation_top1: float | None
    """Of the kept epoch, one centred clip a video."""
    checkpoint_sha256: str
    skipped_videos: int


def run(config: TrainConfig, *, command: str) -> TrainResult:
    """Train; the run folder then contains weights, flags and log."""
    flags = flags_of(config)
    overrides = network_overrides(config.model, config.pixels) | ({"neck": WIDTH} if config.start.keep_fc else {})
    outline = outline_network(config.model.arch, overrides, config.run)
    check_clips(outline, shape_of(flags, _smallest_batch(config)))

    train, validation, caveats = find_lists(config)
    network, lineage = build_network(config, overrides, train.labels)
    card = describe(config, overrides, train, command=command, lineage=lineage, caveats=caveats)
    length = with_flags(count_updates, flags, len(train.samples), world_size=config.run.devices * config.run.nodes)
    fabric = build_devices(config.run, outline, shape_of(flags, config.optimizer.batch_size))
    num_workers = config.run.workers

    with claimed(config.output):
        state = open_run(  # only now: errors above must not affect the contents of the folder
            config.output,
            card,
            train,
            flags=asdict(config),
            defaults=default_flags(config),
            resume=config.resume,
            overwrite=config.overwrite,
        )
        with launched(fabric):
            learner = build_learner(flags, fabric, network, length, savings=_savings(config))
            if state is not None:
                learner.load_state_dict(state)
            for line in (*train.warnings, *caveats):
                warn(line)
            log(
                f"training {_named(config)} on {len(train.samples)} videos of {train.split}: {length.num_steps} updates"
            )
            source = video_source(config.pixels, backend=config.run.backend)
            clips = with_flags(TrainClips, flags, train.samples, open_video=source, segments=config.segments.segments)
            weights = drawing_weights(train.samples) if config.labels.balance == "sampler" else None
            batches = with_flags(build_loader, flags, clips, fabric, num_workers=num_workers, weights=weights)
            objective = with_flags(
                Classification,
                flags,
                class_weights=class_weights(train.samples, len(train.labels)) if flags["balance"] == "loss" else None,
                skip_bad_videos=config.run.bad_videos == "skip",
                computing=partial(computing, precision=config.run.precision),
            )
            validator = validation and Validator(validation, card, num_workers=num_workers, source=source)
            learn(flags, learner, batches, objective=objective, length=length, card=card, validate=validator)
            return _finish(config, learner)


def find_lists(config: TrainConfig) -> tuple[VideoList, VideoList | None, list[str]]:
    """Training videos, selection videos, and warnings for all results."""
    selection, labels, seed = config.selection, config.labels, config.run.seed
    find = partial(find_videos, config.data, split=config.split, format=config.format)
    train = find(subset="train")
    train = draw_labels(train, seed=seed, per_class=labels.labels_per_class, fraction=labels.train_fraction)
    caveats: list[str] = []
    try:
        test: VideoList | None = find(subset="test")
    except NoSuchSubsetError:  # a dataset without test list can be trained on; evaluate reports the missing list
        test = None
    if test is not None:
        check_disjoint(train, test, allow_shared_groups=selection.allow_shared_groups)
        if selection.allow_shared_groups:
            caveats.append("training and test videos were allowed to share groups (--allow-shared-groups)")
    if selection.select_on == "none":
        return train, None, caveats
    if selection.select_on == "test":
        if test is None:
            raise DataError(f"{config.data}: has no test list to select on; use --select-on validation")
        caveats.append("weights were selected on the TEST videos (--select-on test): the accuracy is too high")
        return train, test, caveats
    try:
        return train, find(subset="validation"), caveats
    except NoSuchSubsetError:
        return *draw_validation(train, seed=seed, fraction=selection.validation_fraction), caveats


def build_network(
    config: TrainConfig, overrides: Mapping[str, Any], labels: tuple[str, ...]
) -> tuple[nn.Module, list[dict[str, Any]]]:
    """The initialised network, and its lineage."""
    torch.manual_seed(config.run.seed)
    network = create_model(config.model.arch, num_classes=len(labels), **overrides)
    start, lineage = config.start, []
    if start.init is not None:
        if start.keep_fc:
            keep_fc(network, start.init)
        filled = ["neck."] if start.keep_fc else []
        begun = initialise(network, start.init, labels, inflate=start.inflate, filled=filled)
        for line in begun.notes:
            log(line)
        lineage, parent = begun.lineage, begun.parent
        if parent is not None and parent.pixels.modality != config.pixels.modality:
            warn(
                f"{start.init}: learnt on --modality {parent.pixels.modality}, this training sees "
                f"{config.pixels.modality}"
            )
        if parent is not None and parent.labels and parent.labels != labels:
            warn(f"{start.init}: other classes ({len(parent.labels)} -> {len(labels)}); the head starts anew")
    freeze_stages(network, start.freeze)
    return network, lineage


def describe(config: TrainConfig, overrides: Mapping[str, Any], train: VideoList, **training: object) -> ModelCard:
    """Model card of the trained weights."""
    facts = {
        "dataset": dataset_name(config.data),
        "format": train.format,
        "split": config.split,
        "split_text": train.split,
        "seed": config.run.seed,
        "labels_per_class": config.labels.labels_per_class,
        "train_fraction": config.labels.train_fraction,
        "validation_fraction": config.selection.validation_fraction,
        "select_on": config.selection.select_on,
        "preset": config.preset,
        **training,
    }
    return ModelCard(
        arch=config.model.arch,
        overrides=overrides,
        labels=train.labels,
        clip=config.clip,
        pixels=config.pixels,
        segments=config.segments,
        training=facts,
    )


def show(result: TrainResult, config: TrainConfig) -> int:
    """Print the path of the weights and the next command."""
    print(f"{result.output}: {result.steps} updates, {result.epochs} epochs, {result.seconds:.0f} s")
    if result.validation_top1 is not None:
        print(f"kept: epoch {result.kept_epoch}, validation top-1 {result.validation_top1:.1%} on centred clips")
    print(f"next: t3d evaluate {shlex.quote(result.output)}")
    return 0


def _smallest_batch(config: TrainConfig) -> int:
    """Number of clips of the smallest possible batch, if undecodable videos are skipped."""
    num_videos = 1 if config.run.bad_videos == "skip" else config.optimizer.batch_size
    return num_videos * (1 if config.recompute_segments else config.segments.segments)


def _savings(config: TrainConfig) -> list[str]:
    """Flags of segments that would save memory."""
    run, is_one_device = config.run, config.run.devices * config.run.nodes == 1
    would_help = config.segments.enabled and not config.recompute_segments
    return ["--recompute-segments"] if would_help and is_one_device and not run.compile else []


def _named(config: TrainConfig) -> str:
    segments = config.segments.segments
    return config.model.arch if segments == 1 else f"{config.model.arch} with {segments} segments"


def _finish(config: TrainConfig, learner: Learner) -> TrainResult:
    folder, progress = config.output, learner.progress
    learner.fabric.barrier()
    kept = max(progress.rows, key=_merit)  # the first of equals, as the callbacks have it
    result = TrainResult(
        output=str(folder),
        steps=progress.step,
        epochs=len(progress.rows),
        seconds=round(progress.seconds, 1),
        train_top1=progress.rows[-1]["train_top1"],
        kept_epoch=kept["epoch"],
        validation_top1=kept.get("validation_top1"),
        checkpoint_sha256=file_hash(weights_file(folder)),
        skipped_videos=len(progress.skipped),
    )
    if learner.fabric.is_global_zero:
        save_figure(training_figure(progress.rows), folder / FIGURE_NAME)
        if progress.skipped:
            warn(f"{len(progress.skipped)} training videos could not be decoded: see {folder / SKIPPED_NAME}")
            write_csv(folder / SKIPPED_NAME, [{"error": line} for line in progress.skipped])
        write_text(folder / SUMMARY_NAME, json.dumps(asdict(result), indent=2) + "\n")
    return result


def _merit(row: Mapping[str, Any]) -> tuple[float, float]:
    """Sort key of the epochs: the best is kept."""
    return (row["validation_top1"], -row["validation_loss"]) if "validation_top1" in row else (float(row["epoch"]), 0.0)
