"""Turn flags into what learns (network, loader, optimizer and schedule, objective), and let it learn."""

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import torch
from lightning.fabric import Fabric
from torch import Tensor, nn
from torch.utils.data import DataLoader

from t3d.commands import _setup as plan
from t3d.commands._console import TrainingReporter, bar, say, warn
from t3d.commands._datasets import video_source
from t3d.commands._devices import computing
from t3d.config import LearningConfig, StartOptions, TrainConfig, TransferConfig
from t3d.data.clips import EpochSampler, TrainClips, collate_train
from t3d.data.samples import VideoList
from t3d.models import Network, create_model
from t3d.models.checkpoints import ModelCard, file_hash, initialise_from, weights_file
from t3d.models.dense_block import can_recompute, recompute
from t3d.system import keep_freed_memory, return_freed_memory
from t3d.training.callbacks import RunHooks
from t3d.training.loader import class_weights, drawing_weights, train_loader
from t3d.training.loop import Learner, Objective, fit
from t3d.training.objective import Classification
from t3d.training.optim import build_optimizer, build_schedule, freeze_stages
from t3d.training.start import inflate_from, keep_fc
from t3d.training.tracking import tensorboard_reporters
from t3d.transfer.pairs import PairClips, collate_pairs


def build_model(config: TrainConfig, labels: tuple[str, ...]) -> tuple[nn.Module, list[dict[str, Any]]]:
    """The network as it enters training, and its lineage."""
    torch.manual_seed(config.run.seed)
    model = create_model(config.model.arch, num_classes=len(labels), **plan.model_overrides(config))
    lineage: list[dict[str, Any]] = []
    if config.start.init is not None:
        parent = _initialise(model, config.start.init, config.start, labels)
        lineage = [*_ancestors(parent), _ancestor(config.start, parent)]
        if parent is not None and parent.pixels.modality != config.pixels.modality:
            warn(
                f"{config.start.init}: learnt on --modality {parent.pixels.modality}, this training sees "
                f"{config.pixels.modality}"
            )
        if parent is not None and parent.labels and parent.labels != labels:
            warn(f"{config.start.init}: other classes ({len(parent.labels)} -> {len(labels)}); the head starts anew")
    freeze_stages(model, config.start.freeze)
    return model, lineage


def _initialise(model: Network, init: Path, start: StartOptions, labels: tuple[str, ...]) -> ModelCard | None:
    """Fill the network; gives the card of the weights, which a published file has not."""
    if start.keep_fc:
        keep_fc(model, init)
    if start.inflate is None:
        card, fresh = initialise_from(model, init, labels)
        if fresh:
            say(f"{init}: all of {card.arch} fits, {len(fresh)} tensors stay random")
            _say_random(fresh)
        return card
    inflation, parent = inflate_from(model, init, labels, how=start.inflate)
    fresh = [name for name in inflation.fresh if not (start.keep_fc and name.startswith("neck."))]
    say(f"{init}: {len(inflation.copied)} tensors inflated ({start.inflate}), {len(fresh)} stay random")
    if fresh:
        _say_random(fresh)
    return parent


def _say_random(tensors: list[str]) -> None:
    """Name the layers, but stages instead of theirs."""
    names = sorted({name.rpartition(".")[0] for name in tensors})
    stages = dict.fromkeys(".".join(name.split(".")[:2]) if name.startswith("stages.") else name for name in names)
    say(f"random: {', '.join(stages)}")


def _ancestors(parent: ModelCard | None) -> list[dict[str, Any]]:
    return [] if parent is None else list(parent.training.get("lineage", []))


def _ancestor(start: StartOptions, parent: ModelCard | None) -> dict[str, Any]:
    assert start.init is not None
    file = weights_file(start.init)
    return {
        "file": str(file),
        "sha256": file_hash(file),
        "arch": "2D network (published)" if parent is None else parent.arch,
        "command": None if parent is None else parent.training.get("command"),
        "inflated": start.inflate,
    }


def build_loader(config: TrainConfig, train: VideoList, fabric: Fabric) -> tuple["DataLoader[Any]", EpochSampler]:
    """Batches of training clips for this process, and the sampler that orders them."""
    options = config.run
    clips = TrainClips(
        train.samples,
        clip=config.clip,
        pixels=config.pixels,
        augment=config.augment,
        open_video=video_source(config.pixels, backend=options.backend),
        seed=options.seed,
        segments=config.segments.segments,
    )
    weights = drawing_weights(train.samples) if config.labels.balance == "sampler" else None
    return _loader(config, clips, fabric, collate_train, weights)


def build_pair_loader(
    config: TransferConfig, pairs: PairClips, fabric: Fabric
) -> tuple["DataLoader[Any]", EpochSampler]:
    """Batches of clips with looks for this process, and the sampler that orders them."""
    return _loader(config, pairs, fabric, collate_pairs)


def _loader(
    config: LearningConfig,
    clips: TrainClips | PairClips,
    fabric: Fabric,
    collate: Callable[..., Any],
    weights: Tensor | None = None,
) -> tuple["DataLoader[Any]", EpochSampler]:
    optimizer, options = config.optimizer, config.run
    sampler = EpochSampler(
        len(clips),
        batch_size=optimizer.batch_size,
        seed=options.seed,
        weights=weights,
        rank=fabric.global_rank,
        world_size=fabric.world_size,
    )
    loader = train_loader(
        clips,
        sampler,
        batch_size=optimizer.batch_size,
        num_workers=options.workers,
        pin_memory=fabric.device.type == "cuda",
        collate=collate,
    )
    return loader, sampler


def build_learner(
    config: LearningConfig,
    fabric: Fabric,
    model: nn.Module,
    *,
    epoch_steps: int,
    num_steps: int,
    layer_decay: float = 1.0,
) -> Learner:
    """Network, optimizer and schedule on this process's device."""
    options, schedule, run = config.optimizer, config.schedule, config.run
    if run.channels_last:
        model.to(memory_format=torch.channels_last_3d)  # type: ignore[call-overload]  # conv weights; maps follow them
    _trade_memory(model, run.recompute)
    optimizer = build_optimizer(
        model,
        lr=options.lr,
        momentum=options.momentum,
        nesterov=options.nesterov,
        weight_decay=options.weight_decay,
        layer_decay=layer_decay,
    )
    rates = build_schedule(
        optimizer,
        kind=schedule.schedule,
        num_steps=num_steps,
        warmup_steps=schedule.warmup_steps,
        steps_per_decay=schedule.step_epochs * epoch_steps,
        decay_factor=schedule.decay_factor,
    )
    return Learner(
        fabric,
        model,
        optimizer,
        rates,
        ema_decay=options.ema_decay,
        compiled_for=options.batch_size if run.compile else None,
        savings=[flag for flag, helps in _savings(config, model).items() if helps],
    )


def _trade_memory(model: nn.Module, is_wanting: bool) -> None:
    """Take less memory and more time, or the other way round."""
    if is_wanting:
        recompute(model)
        return_freed_memory()
    else:
        keep_freed_memory()


def _savings(config: LearningConfig, model: nn.Module) -> dict[str, bool]:
    """Flags that trade time for memory, and whether they would be taken and change anything."""
    run = config.run
    segmented = isinstance(config, TrainConfig) and config.segments.enabled and not config.recompute_segments
    return {
        "--recompute": can_recompute(model) and not run.compile,
        "--recompute-segments": segmented and not run.compile and run.devices * run.nodes == 1,
    }


def build_objective(config: TrainConfig, train: VideoList) -> Classification:
    """What an update minimises."""
    options, labels = config.optimizer, config.labels
    return Classification(
        pixels=config.pixels,
        segments=config.segments,
        recompute_segments=config.recompute_segments,
        label_smoothing=labels.label_smoothing,
        class_weights=class_weights(train.samples, len(train.labels)) if labels.balance == "loss" else None,
        accumulate=options.accumulate,
        clip_norm=options.clip_norm,
        skip_bad_videos=config.run.bad_videos == "skip",
        computing=partial(computing, precision=config.run.precision),
    )


def learn(
    config: LearningConfig,
    learner: Learner,
    *,
    loading: tuple["DataLoader[Any]", EpochSampler],
    objective: Objective,
    build_hooks: Callable[..., RunHooks],
    num_epochs: int,
    num_steps: int,
    measure: str = "top1",
) -> None:
    """Make the updates that are left, keeping the run folder up to date.

    Args:
        config: The flags.
        learner: Network, optimizer and progress.
        loading: Batches, and the sampler that orders them.
        objective: What an update minimises.
        build_hooks: `RunHooks` with all that depends on what is learnt.
        num_epochs: Expected in all.
        num_steps: Updates in all.
        measure: What the log calls the share of right answers.
    """
    loader, sampler = loading
    if config.run.compile:
        say("compiling the training step, minutes where nothing is kept of an earlier start; Ctrl-C twice ends at once")
    schedule, first_step = config.schedule, learner.progress.step
    with bar("learning", total=num_steps) as shown:
        console = TrainingReporter(
            shown, num_steps=num_steps, num_epochs=num_epochs, first_step=first_step, measure=measure
        )
        hooks = build_hooks(
            measure=measure,
            checkpoint_steps=config.run.checkpoint_steps,
            early_stop_epochs=schedule.early_stop_epochs,
            plateau=(schedule.decay_factor, schedule.plateau_patience) if schedule.schedule == "plateau" else None,
            reporters=[console, *tensorboard_reporters(config.output, first_step=first_step)],
        )
        with hooks.catch_signals():
            fit(learner, loader, sampler, objective=objective, num_steps=num_steps, seed=config.run.seed, hooks=hooks)
        if hooks.interrupted:  # after the last update; the state of its epoch is saved
            raise KeyboardInterrupt
