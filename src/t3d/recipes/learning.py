"""Turn the flags of a training into what learns: network, loader, optimizer and schedule, objective."""

from functools import partial
from typing import Any

import torch
from lightning.fabric import Fabric
from torch import nn
from torch.utils.data import DataLoader

from t3d.config import TrainConfig
from t3d.data.clips import EpochSampler, TrainClips
from t3d.data.samples import VideoList
from t3d.engine.checkpoints import file_hash, initialise_from, weights_file
from t3d.engine.loading import class_weights, drawing_weights, train_loader
from t3d.engine.loop import Learner, Objective
from t3d.engine.optimisation import build_optimizer, build_schedule, freeze_stages
from t3d.models import create_model
from t3d.recipes import plan
from t3d.recipes.console import warn
from t3d.video.decode import open_video


def build_model(config: TrainConfig, labels: tuple[str, ...]) -> tuple[nn.Module, list[dict[str, Any]]]:
    """The network as it enters training, and its lineage."""
    torch.manual_seed(config.run.seed)
    model = create_model(config.model.arch, num_classes=len(labels), **plan.overrides(config))
    lineage: list[dict[str, Any]] = []
    if config.init is not None:
        parent = initialise_from(model, config.init, labels)
        file = weights_file(config.init)
        ancestor = {
            "file": str(file),
            "sha256": file_hash(file),
            "arch": parent.arch,
            "command": parent.training.get("command"),
        }
        lineage = [*parent.training.get("lineage", []), ancestor]
        if parent.labels != labels:
            warn(f"{config.init}: other classes ({len(parent.labels)} -> {len(labels)}); the head starts anew")
    freeze_stages(model, config.model.freeze)
    return model, lineage


def build_loader(config: TrainConfig, train: VideoList, fabric: Fabric) -> tuple["DataLoader[Any]", EpochSampler]:
    """Batches of training clips for this process, and the sampler that orders them."""
    optimizer, options = config.optimizer, config.run
    clips = TrainClips(
        train.samples,
        clip=config.clip,
        pixels=config.pixels,
        augment=config.augment,
        open_video=partial(open_video, backend=options.backend),
        seed=options.seed,
    )
    sampler = EpochSampler(
        len(clips),
        batch_size=optimizer.batch_size,
        seed=options.seed,
        weights=drawing_weights(train.samples) if optimizer.balance == "sampler" else None,
        rank=fabric.global_rank,
        world_size=fabric.world_size,
    )
    on_gpu = fabric.device.type == "cuda"
    loader = train_loader(
        clips, sampler, batch_size=optimizer.batch_size, num_workers=options.workers, pin_memory=on_gpu
    )
    return loader, sampler


def build_learner(
    config: TrainConfig, fabric: Fabric, model: nn.Module, *, epoch_steps: int, num_steps: int
) -> Learner:
    """Network, optimizer and schedule on this process's device."""
    options, schedule = config.optimizer, config.schedule
    optimizer = build_optimizer(
        model,
        lr=options.lr,
        momentum=options.momentum,
        nesterov=options.nesterov,
        weight_decay=options.weight_decay,
        layer_decay=options.layer_decay,
    )
    rates = build_schedule(
        optimizer,
        kind=schedule.schedule,
        num_steps=num_steps,
        warmup_steps=schedule.warmup_steps,
        steps_per_decay=schedule.step_epochs * epoch_steps,
        decay_factor=schedule.decay_factor,
    )
    return Learner(fabric, model, optimizer, rates, ema_decay=options.ema_decay)


def build_objective(config: TrainConfig, train: VideoList) -> Objective:
    """What an update minimises."""
    options = config.optimizer
    return Objective(
        pixels=config.pixels,
        label_smoothing=options.label_smoothing,
        class_weights=class_weights(train.samples, len(train.labels)) if options.balance == "loss" else None,
        accumulate=options.accumulate,
        clip_norm=options.clip_norm,
        skip_bad_videos=config.run.bad_videos == "skip",
    )
