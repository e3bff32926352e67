"""Shared by `train` and `transfer`: flags by name, checks before the start, the learner and its loop."""

import inspect
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, fields, is_dataclass
from pathlib import Path
from typing import Any, TypeVar

import torch
from lightning_fabric import Fabric
from torch import nn
from torch.utils.data import DataLoader

from t3d.commands._console import TrainingReporter, bar, log
from t3d.commands._devices import build_fabric, check_numerics, prepare_compilation, wants_check
from t3d.config import ModelOptions, RunOptions, TrainConfig, TransferConfig
from t3d.data.clips import EpochSampler
from t3d.errors import ConfigError
from t3d.models import accelerate, create_model, supports_recompute
from t3d.models.checkpoints import ModelCard
from t3d.models.pretrained.inflation import twin_overrides
from t3d.models.registry import architecture
from t3d.training.callbacks import RunCallbacks
from t3d.training.learner import Learner, prepare_network
from t3d.training.loader import Length
from t3d.training.loop import Objective, fit
from t3d.training.optim import build_optimizer, build_schedule
from t3d.training.tracking import tensorboard_reporters
from t3d.video.spec import AugmentSpec, ClipSpec, PixelSpec, SegmentSpec

Result = TypeVar("Result")
ClipsShape = tuple[int, int, int, int, int]


def flags_of(config: object) -> dict[str, Any]:
    """All flags of a command by name; clip, pixels, augment and segments stay specs."""
    assert is_dataclass(config)
    flags: dict[str, Any] = {}
    for field in fields(config):
        value = getattr(config, field.name)
        is_group = is_dataclass(value) and not isinstance(value, AugmentSpec | ClipSpec | PixelSpec | SegmentSpec)
        flags |= flags_of(value) if is_group else {field.name: value}
    return flags


def with_flags(
    function: Callable[..., Result], flags: Mapping[str, Any], *arguments: object, **given: object
) -> Result:
    """Call a function with the given arguments, and with every flag that has the name of a keyword-only argument.

    A new flag therefore needs a field in `t3d.config` and an argument of that name where it acts, nothing in between.
    """
    names = [name for name, p in inspect.signature(function).parameters.items() if p.kind is p.KEYWORD_ONLY]
    return function(*arguments, **{name: flags[name] for name in names if name in flags} | given)


def network_overrides(options: ModelOptions, pixels: PixelSpec) -> dict[str, Any]:
    """Overrides of the network's spec from the flags.

    Raises:
        ConfigError: The network is unknown, or an override is not of the form NAME=JSON.
    """
    has_heads = hasattr(architecture(options.arch).spec, "head")
    wanted = {
        "head": "mean" if options.head == "mean" and has_heads else None,
        "dropout": options.dropout,
        "ttl_compress": options.ttl_compress or None,
        "keep_last_plane": options.keep_last_plane or None,
    }
    spec_fields = dict(_spec_field(text) for text in options.overrides)
    given = {name: value for name, value in wanted.items() if value is not None} | spec_fields
    channels = {"in_channels": pixels.channels} if pixels.modality == "flow" else {}
    return (twin_overrides(options.arch, **given) if options.twin else given) | channels


def outline_network(arch: str, overrides: Mapping[str, Any], options: RunOptions) -> nn.Module:
    """The network on the meta device, with two classes, for checks without memory or computation.

    Raises:
        ConfigError: There is no such network, or it cannot be recomputed.
    """
    with torch.device("meta"):
        network = create_model(arch, num_classes=2, **overrides)
    if not options.plain:
        accelerate(network, recompute=options.recompute)
    return network


def shape_of(flags: Mapping[str, Any], num_clips: int) -> ClipsShape:
    """Shape (B, C, T, H, W) of a batch of this number of clips."""
    pixels, clip = flags["pixels"], flags["clip"]
    return num_clips, pixels.channels, clip.num_frames, pixels.crop_size, pixels.crop_size


def check_clips(outline: nn.Module, shape: ClipsShape) -> None:
    """Check on the meta device that the network accepts batches (B, C, T, H, W).

    Raises:
        ConfigError: The clips are too small.
    """
    num_frames, size = shape[2:4]
    try:
        with torch.no_grad():
            outline(torch.empty(shape, device="meta"))
    except ValueError:  # a single value per channel cannot be normalised
        raise ConfigError(
            f"clips of {num_frames} x {size} x {size} are too small to be learnt from one at a time; use larger "
            "ones (--crop-size), or --batch-size 2 and --bad-videos stop"
        ) from None


def build_devices(options: RunOptions, outline: nn.Module, shape: ClipsShape) -> Fabric:
    """The devices of a training on batches (B, C, T, H, W); no process starts yet.

    Raises:
        ConfigError: They are not available, compute wrong gradients, or cannot compile.
    """
    fabric = build_fabric(
        accelerator=options.accelerator, precision=options.precision, devices=options.devices, nodes=options.nodes
    )
    if options.compile:
        prepare_compilation()
    if wants_check(fabric.device, options.precision):
        check_numerics(
            outline,
            shape,
            device=fabric.device,
            precision=options.precision,
            learns=True,
            channels_last=options.channels_last,
        )
    return fabric


def build_learner(
    flags: Mapping[str, Any], fabric: Fabric, network: nn.Module, length: Length, *, savings: Sequence[str] = ()
) -> Learner:
    """Build the learner: network, optimizer and schedule on this process's device.

    Args:
        flags: All flags of the command.
        fabric: The devices.
        network: Initialised; changed in place.
        length: Length of the training.
        savings: Flags of the command that would save memory, besides --recompute.
    """
    with_flags(prepare_network, flags, network)
    optimizer = with_flags(build_optimizer, flags, network)
    schedule = with_flags(
        build_schedule,
        flags,
        optimizer,
        kind=flags["schedule"],
        num_steps=length.num_steps,
        steps_per_decay=flags["step_epochs"] * length.epoch_steps,
    )
    can_save = supports_recompute(network) and not flags["compile"] and not flags["plain"]
    return with_flags(
        Learner,
        flags,
        fabric,
        network,
        optimizer,
        schedule,
        compiled_for=flags["batch_size"] if flags["compile"] else None,
        savings=[*(["--recompute"] if can_save else []), *savings],
    )


def learn(
    flags: Mapping[str, Any],
    learner: Learner,
    batches: tuple["DataLoader[Any]", EpochSampler],
    *,
    objective: Objective,
    length: Length,
    card: ModelCard,
    measure: str = "top1",
    **callbacks_given: Any,  # noqa: ANN401
) -> None:
    """Run the remaining updates, keep the run folder up to date and show progress.

    Args:
        flags: All flags of the command.
        learner: Network, optimizer and progress.
        batches: A loader, and the sampler that orders them.
        objective: Computes the loss.
        length: Length of the training.
        card: Written into every weights file.
        measure: Name of the accuracy in the log.
        callbacks_given: Other arguments of `RunCallbacks`.
    """
    if flags["compile"]:
        log("compiling the training step, minutes where nothing is kept of an earlier start; Ctrl-C twice ends at once")
    folder, first_step = flags["output"], learner.progress.step
    with bar("learning", total=length.num_steps) as shown:
        console = TrainingReporter(
            shown,
            num_steps=length.num_steps,
            num_epochs=length.num_epochs,
            first_step=first_step,
            measure=measure,
        )
        callbacks = with_flags(
            RunCallbacks,
            flags,
            folder,
            card,
            measure=measure,
            plateau=(flags["decay_factor"], flags["plateau_patience"]) if flags["schedule"] == "plateau" else None,
            reporters=[console, *tensorboard_reporters(folder, first_step=first_step)],
            **callbacks_given,
        )
        loader, sampler = batches
        with callbacks.catch_signals():
            fit(
                learner,
                loader,
                sampler,
                objective=objective,
                num_steps=length.num_steps,
                seed=flags["seed"],
                callbacks=callbacks,
            )
        if callbacks.interrupted:  # after the last update; the state of its epoch is saved
            raise KeyboardInterrupt


def default_flags(config: TrainConfig | TransferConfig) -> dict[str, Any]:
    """Defaults of all flags, by group."""
    return asdict(type(config)(data=config.data))


def dataset_name(data: Path) -> str:
    """Name of the dataset for the model card: its path, or the name of the built-in one."""
    return str(data.resolve()) if data.exists() else str(data)


def _spec_field(text: str) -> tuple[str, Any]:
    name, _, value = text.partition("=")
    try:
        return name, json.loads(value)
    except ValueError:
        raise ConfigError(f"--overrides {text!r} must be NAME=JSON, such as ttl_width=64 or blocks=[2,2,2,2]") from None
