"""Teach a fresh 3D network by a frozen 2D one, without labels, into a run folder for `t3d train --init`."""

import json
import math
import shlex
from dataclasses import asdict, dataclass, fields
from functools import partial
from typing import Any

from torch import nn

from t3d.commands import _learning as learning
from t3d.commands import _setup as plan
from t3d.commands import _transfer_setup as pairing
from t3d.commands._console import say, warn
from t3d.commands._devices import launched
from t3d.commands._output import claimed, open_folder
from t3d.config import TransferConfig
from t3d.config.presets import preset
from t3d.data.samples import VideoList
from t3d.errors import T3DError
from t3d.evaluation.plots import save_figure, training_figure
from t3d.files import write_csv, write_text
from t3d.models.checkpoints import ModelCard, file_hash, weights_file
from t3d.training.callbacks import RunHooks
from t3d.training.loop import Learner
from t3d.training.run_dir import SUMMARY_NAME
from t3d.training.start import MATCHER_NAME, save_matcher
from t3d.transfer.matcher import MatchingNetwork
from t3d.transfer.teachers import FrozenTeacher

MEASURE = "matching"


@dataclass(frozen=True, kw_only=True)
class TransferResult:
    """What a transfer reached; also written as `training.json`."""

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
    """Transfer; the run folder then holds a network without classes, and how it was made."""
    plan.check_clips(config)
    videos, held_out = pairing.find_lists(config)
    judged = pairing.find_probe(config)
    teacher = pairing.find_teacher(config)
    network = pairing.build_network(config, teacher)
    card = pairing.describe(config, videos, teacher, command=command)
    fabric = plan.build_devices(config)
    with claimed(config.output):
        state = open_folder(config, card, videos)
        with launched(fabric):
            teacher.to(fabric.device)
            for line in videos.warnings:
                warn(line)
            looks = pairing.look(config, teacher, videos, held_out, fabric)
            epoch_steps, num_steps = plan.count_steps(config, len(looks.train))
            learner = learning.build_learner(config, fabric, network, epoch_steps=epoch_steps, num_steps=num_steps)
            if state is not None:
                learner.load_state_dict(state)
            say(f"teaching {config.model.arch} by {teacher.name}: {len(looks.train)} clips, {num_steps} updates")
            learning.learn(
                config,
                learner,
                loading=learning.build_pair_loader(config, looks.train, fabric),
                objective=pairing.build_objective(config, teacher),
                build_hooks=partial(
                    RunHooks,
                    config.output,
                    card,
                    validate=pairing.build_validator(config, looks.held_out, teacher),
                    keep_best=False,
                    part=_student,
                ),
                num_epochs=math.ceil(num_steps / epoch_steps),
                num_steps=num_steps,
                measure=MEASURE,
            )
            return _finish(config, learner, card, looks, teacher, judged)


def _student(network: nn.Module) -> nn.Module:
    assert isinstance(network, MatchingNetwork)
    return network.student


def _finish(
    config: TransferConfig,
    learner: Learner,
    card: ModelCard,
    looks: pairing.Looks,
    teacher: FrozenTeacher,
    judged: tuple[VideoList, VideoList] | None,
) -> TransferResult:
    folder, progress = config.output, learner.progress
    last = progress.rows[-1]
    skipped = [*looks.skipped, *progress.skipped]
    if teacher.fingerprint != card.training["teacher"]["fingerprint"]:
        raise T3DError(f"teacher {teacher.name} has changed while it taught; its network must not learn by itself")
    probe = None
    if learner.fabric.is_global_zero:
        _write(config, learner, skipped)
        if judged is not None:
            probe = pairing.probe(config, _student(learner.result), card, judged)
    learner.fabric.barrier()
    result = TransferResult(
        output=str(folder),
        steps=progress.step,
        epochs=len(progress.rows),
        seconds=round(progress.seconds, 1),
        train_matching=last[f"train_{MEASURE}"],
        held_out_matching=last[f"validation_{MEASURE}"],
        held_out_clips=len(looks.held_out),
        clips=len(looks.train),
        teacher=dict(card.training["teacher"]),
        probe=probe,
        checkpoint_sha256=file_hash(weights_file(folder)),
        skipped_videos=len(skipped),
    )
    if learner.fabric.is_global_zero:
        write_text(folder / SUMMARY_NAME, json.dumps(asdict(result), indent=2) + "\n")
    return result


def _write(config: TransferConfig, learner: Learner, skipped: list[str]) -> None:
    folder = config.output
    network = learner.result
    assert isinstance(network, MatchingNetwork)
    save_matcher(folder / MATCHER_NAME, network.matcher)
    save_figure(training_figure(learner.progress.rows, measure=MEASURE), folder / "training.png")
    if skipped:
        warn(f"{len(skipped)} videos could not be decoded and were left out: see {folder / 'skipped.csv'}")
        write_csv(folder / "skipped.csv", [{"error": line} for line in skipped])


def show(result: TransferResult, config: TransferConfig) -> int:
    """Print what was reached and what to do with it."""
    print(f"{result.output}: {result.steps} updates, {result.epochs} epochs, {result.seconds:.0f} s")
    print(
        f"matching on held-out videos: {result.held_out_matching:.1%} of {2 * result.held_out_clips} pairs "
        "(chance 50 %)"
    )
    for name, share in (result.probe or {}).get("top1", {}).items():
        print(f"frozen network on {config.probe.probe}, {name}: {share:.1%} of test videos")
    print(f"next: t3d train DATA --init {shlex.quote(result.output)} {_network_flags(config)}")
    return 0


def _network_flags(config: TransferConfig) -> str:
    """What `t3d train` must be told to build the same network for the same clips."""
    usual = preset("quick")
    flags = ["--arch", config.model.arch]
    if config.model.twin:
        flags += ["--inflate", "centre"]
    for given, default in ((config.model, usual.model), (config.clip, usual.clip), (config.pixels, usual.pixels)):
        for field in fields(given):
            value = getattr(given, field.name)
            if field.name not in ("arch", "twin") and value != getattr(default, field.name):
                flags += [f"--{field.name.replace('_', '-')}", *_written(value)]
    return shlex.join(flags)


def _written(value: object) -> list[str]:
    if value is True:
        return []
    return [str(item) for item in value] if isinstance(value, tuple) else [str(value)]
