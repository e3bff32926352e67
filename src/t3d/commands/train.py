"""Train a network on labelled videos into a run folder."""

import json
import math
import shlex
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from functools import partial
from typing import Any

from t3d.commands import _learning as learning
from t3d.commands import _setup as plan
from t3d.commands._console import say, warn
from t3d.commands._devices import launched
from t3d.commands._output import claimed, open_folder
from t3d.config import TrainConfig
from t3d.evaluation.plots import save_figure, training_figure
from t3d.files import write_csv, write_text
from t3d.models.checkpoints import file_hash, weights_file
from t3d.training.callbacks import RunHooks
from t3d.training.loop import Learner
from t3d.training.run_dir import SUMMARY_NAME


@dataclass(frozen=True, kw_only=True)
class TrainResult:
    """What a training reached; also written as `training.json`."""

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
    """Train; the run folder then holds the weights and how they were made."""
    plan.check_clips(config)
    train, validation, caveats = plan.find_lists(config)
    model, lineage = learning.build_model(config, train.labels)
    card = plan.describe(config, train, command=command, lineage=lineage, caveats=caveats)
    epoch_steps, num_steps = plan.count_steps(config, len(train.samples))
    fabric = plan.build_devices(config)
    with claimed(config.output):
        state = open_folder(config, card, train)  # only now, for nothing above may cost what the folder holds
        with launched(fabric):
            learner = learning.build_learner(
                config,
                fabric,
                model,
                epoch_steps=epoch_steps,
                num_steps=num_steps,
                layer_decay=config.start.layer_decay,
            )
            if state is not None:
                learner.load_state_dict(state)
            for line in (*train.warnings, *caveats):
                warn(line)
            say(f"training {_named(config)} on {len(train.samples)} videos of {train.split}: {num_steps} updates")
            learning.learn(
                config,
                learner,
                loading=learning.build_loader(config, train, fabric),
                objective=learning.build_objective(config, train),
                build_hooks=partial(
                    RunHooks, config.output, card, validate=plan.build_validator(config, validation, card)
                ),
                num_epochs=math.ceil(num_steps / epoch_steps),
                num_steps=num_steps,
            )
            return _finish(config, learner)


def _named(config: TrainConfig) -> str:
    segments = config.segments.segments
    return config.model.arch if segments == 1 else f"{config.model.arch} with {segments} segments"


def _finish(config: TrainConfig, learner: Learner) -> TrainResult:
    folder, progress = config.output, learner.progress
    learner.fabric.barrier()
    kept = max(progress.rows, key=_merit)  # the first of equals, as the hooks have it
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
        save_figure(training_figure(progress.rows), folder / "training.png")
        if progress.skipped:
            warn(f"{len(progress.skipped)} training videos could not be decoded: see {folder / 'skipped.csv'}")
            write_csv(folder / "skipped.csv", [{"error": line} for line in progress.skipped])
        write_text(folder / SUMMARY_NAME, json.dumps(asdict(result), indent=2) + "\n")
    return result


def _merit(row: Mapping[str, Any]) -> tuple[float, float]:
    """What the kept epoch has most of."""
    return (row["validation_top1"], -row["validation_loss"]) if "validation_top1" in row else (float(row["epoch"]), 0.0)


def show(result: TrainResult, config: TrainConfig) -> int:
    """Print where the weights are and what to do with them."""
    print(f"{result.output}: {result.steps} updates, {result.epochs} epochs, {result.seconds:.0f} s")
    if result.validation_top1 is not None:
        print(f"kept: epoch {result.kept_epoch}, validation top-1 {result.validation_top1:.1%} on centred clips")
    print(f"next: t3d evaluate {shlex.quote(result.output)}")
    return 0
