"""Turn the flags of a training into its plan: which videos, how many updates, which devices; and check that it fits."""

import json
from collections.abc import Mapping
from functools import partial
from typing import Any

import torch
from lightning.fabric import Fabric
from torch import nn

from t3d.commands._datasets import find_videos, video_source
from t3d.commands._devices import build_fabric, check_numerics, prepare_compilation, wants_check
from t3d.config import LearningConfig, ModelOptions, TrainConfig
from t3d.data.clips import Choice, seeded
from t3d.data.samples import NoSuchSubsetError, VideoList
from t3d.data.splits import carve_validation, check_disjoint, take_labels
from t3d.errors import ConfigError, DataError
from t3d.models import create_model
from t3d.models.checkpoints import ModelCard
from t3d.models.dense_block import recompute
from t3d.models.inflation import twin_overrides
from t3d.models.registry import architecture
from t3d.training.loader import steps_per_epoch
from t3d.training.validation import Validator
from t3d.transfer.matcher import WIDTH
from t3d.video.spec import PixelSpec


def find_lists(config: TrainConfig) -> tuple[VideoList, VideoList | None, list[str]]:
    """Training videos, the videos that select the weights, and what every result must say about them."""
    selection = config.selection
    find = partial(find_videos, config.data, split=config.split, format=config.format)
    train = _few_labels(find(subset="train"), _draws(config))
    caveats: list[str] = []
    try:
        test: VideoList | None = find(subset="test")
    except NoSuchSubsetError:  # a dataset without test list can be trained on; evaluate will say what is missing
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
        return *_carve(train, _draws(config)), caveats


def find_held_out(train: VideoList, trained: Mapping[str, Any], *, name: str) -> VideoList:
    """The videos that a run carved from its training list for validation, and did not learn from.

    Args:
        train: The whole training list.
        trained: What the card of the run says of its training.
        name: Of the run, for the message.

    Raises:
        DataError: It held none out, or does not say which.
    """
    if trained.get("select_on") != "validation" or "validation_fraction" not in trained:
        raise DataError(f"{name}: held out no validation videos of its own; train with --select-on validation")
    return _carve(_few_labels(train, trained), trained)[1]


def _draws(config: TrainConfig) -> dict[str, Any]:
    """All that decides which training videos are learnt from."""
    return {
        "seed": config.run.seed,
        "labels_per_class": config.labels.labels_per_class,
        "train_fraction": config.labels.train_fraction,
        "validation_fraction": config.selection.validation_fraction,
    }


def _few_labels(train: VideoList, draws: Mapping[str, Any]) -> VideoList:
    """The training videos whose labels are to be used."""
    per_class, fraction = draws["labels_per_class"], draws["train_fraction"]
    if per_class is None and fraction is None:
        return train
    generator = seeded(draws["seed"], Choice.FEW_LABELS, 0)
    return take_labels(train, per_class=per_class, fraction=fraction, generator=generator)


def _carve(train: VideoList, draws: Mapping[str, Any]) -> tuple[VideoList, VideoList]:
    """Training and validation."""
    generator = seeded(draws["seed"], Choice.HELD_OUT_VIDEOS, 0)
    return carve_validation(train, fraction=draws["validation_fraction"], generator=generator)


def check_clips(config: LearningConfig) -> None:
    """Send the outline of a batch through the outline of the network: no memory, no arithmetic.

    Raises:
        ConfigError: There is no such network, it cannot be recomputed, or the clips are too small for it.
    """
    size, num_frames = config.pixels.crop_size, config.clip.num_frames
    fewest = 1 if isinstance(config, TrainConfig) else 2  # a transfer compares clips of two videos
    num_clips = fewest if config.run.bad_videos == "skip" else config.optimizer.batch_size
    if isinstance(config, TrainConfig) and not config.recompute_segments:
        num_clips *= config.segments.segments
    with torch.no_grad():
        try:
            _outline(config)(torch.empty(_shape(config, num_clips), device="meta"))
        except ValueError:  # a channel of a single value cannot be normalised
            raise ConfigError(
                f"clips of {num_frames} x {size} x {size} are too small to be learnt from one at a time; use larger "
                "ones (--crop-size), or --batch-size 2 and --bad-videos stop"
            ) from None


def build_devices(config: LearningConfig) -> Fabric:
    """The devices of the training; nothing starts yet.

    Raises:
        ConfigError: They cannot be had, compute wrong gradients, or cannot compile.
    """
    options = config.run
    fabric = build_fabric(
        accelerator=options.accelerator, precision=options.precision, devices=options.devices, nodes=options.nodes
    )
    if options.compile:
        prepare_compilation()
    if wants_check(fabric.device, options.precision):
        check_numerics(
            _outline(config),
            _shape(config, config.optimizer.batch_size),
            device=fabric.device,
            precision=options.precision,
            learns=True,
            channels_last=options.channels_last,
        )
    return fabric


def _outline(config: LearningConfig) -> nn.Module:
    """The network on the meta device, of two classes."""
    with torch.device("meta"):
        network = create_model(config.model.arch, num_classes=2, **overrides(config.model), **_channels(config.pixels))
    if config.run.recompute:
        recompute(network)
    return network


def _shape(config: LearningConfig, num_clips: int) -> tuple[int, int, int, int, int]:
    size = config.pixels.crop_size
    return num_clips, config.pixels.channels, config.clip.num_frames, size, size


def overrides(options: ModelOptions) -> dict[str, Any]:
    """Options of the network that differ from its row in the table.

    Raises:
        ConfigError: The network is unknown, or a literal is not of the form NAME=JSON.
    """
    has_heads = hasattr(architecture(options.arch).spec, "head")
    wanted = {
        "head": "mean" if options.head == "mean" and has_heads else None,
        "dropout": options.dropout,
        "ttl_compress": options.ttl_compress or None,
        "keep_last_plane": options.keep_last_plane or None,
    }
    literals = dict(_literal(text) for text in options.overrides)
    given = {name: value for name, value in wanted.items() if value is not None} | literals
    return twin_overrides(options.arch, **given) if options.twin else given


def model_overrides(config: TrainConfig) -> dict[str, Any]:
    """The same, with what its input asks for, and the layer that a transfer left on it where that is to be kept."""
    return overrides(config.model) | _channels(config.pixels) | ({"neck": WIDTH} if config.start.keep_fc else {})


def _channels(pixels: PixelSpec) -> dict[str, Any]:
    return {"in_channels": pixels.channels} if pixels.modality == "flow" else {}


def _literal(text: str) -> tuple[str, Any]:
    name, _, value = text.partition("=")
    try:
        return name, json.loads(value)
    except ValueError:
        raise ConfigError(f"--overrides {text!r} must be NAME=JSON, such as ttl_width=64 or blocks=[2,2,2,2]") from None


def describe(config: TrainConfig, train: VideoList, **training: object) -> ModelCard:
    """The card of the weights this training makes."""
    facts = {
        "dataset": str(config.data.resolve()) if config.data.exists() else str(config.data),
        "format": train.format,
        "split": config.split,
        "split_text": train.split,
        **_draws(config),
        "select_on": config.selection.select_on,
        "preset": config.preset,
        **training,
    }
    return ModelCard(
        arch=config.model.arch,
        overrides=model_overrides(config),
        labels=train.labels,
        clip=config.clip,
        pixels=config.pixels,
        segments=config.segments,
        training=facts,
    )


def count_steps(config: LearningConfig, num_videos: int) -> tuple[int, int]:
    """Updates in an epoch and in the whole training.

    Raises:
        ConfigError: There are more processes than videos.
    """
    options, schedule = config.optimizer, config.schedule
    world_size = config.run.devices * config.run.nodes
    fewest = 1 if isinstance(config, TrainConfig) else 2
    if num_videos < fewest * world_size:
        raise ConfigError(f"{num_videos} training videos are too few for {world_size} processes; lower --devices")
    epoch_steps = steps_per_epoch(
        num_videos, batch_size=options.batch_size, accumulate=options.accumulate, world_size=world_size
    )
    num_steps = max(schedule.epochs * epoch_steps, schedule.min_steps)
    return epoch_steps, num_steps if schedule.max_steps is None else min(num_steps, schedule.max_steps)


def build_validator(config: TrainConfig, videos: VideoList | None, card: ModelCard) -> Validator | None:
    """What measures the network between epochs, where there are videos for it."""
    if videos is None:
        return None
    source = video_source(config.pixels, backend=config.run.backend)
    return Validator(videos, card, num_workers=config.run.workers, source=source)
