"""Every field of a training or transfer is asserted where it acts: in what `fit` is called with, not in the parser."""

import os
import sys
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, fields, is_dataclass, replace
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest
import torch
from torch import nn

from program import MICRO, write_list
from t3d.cli import COMMANDS, _parse
from t3d.commands import _devices as device
from t3d.commands import _training, train, transfer
from t3d.config import EvaluateConfig, PredictConfig, TrainConfig, TransferConfig
from t3d.errors import ConfigError, DataError
from t3d.models import create_model
from t3d.models.checkpoints import ModelCard, save_weights
from t3d.models.pretrained.inflation import twin_overrides
from t3d.models.t3d import DenseBlock
from t3d.run_files import MATCHER_NAME, WEIGHTS_NAME
from t3d.training import learner
from t3d.transfer.matcher import ColourStatistics, Matcher, save_matcher
from t3d.transfer.pairs import LivePictures
from t3d.video.decode import open_video
from t3d.video.encode import write_video
from t3d.video.spec import ClipSpec, PixelSpec, SegmentSpec

Caught = SimpleNamespace
TRANSFER = (*MICRO, "--teacher", "colour_statistics", "--windows", 1)


@dataclass(frozen=True, kw_only=True)
class Probe:
    """Flags, what to look at, and what must be there."""

    flags: tuple[object, ...]
    look: Callable[[Caught], object]
    value: object


def _rates(caught: Caught) -> dict[int, float]:
    return {group["stage"]: group["initial_lr"] for group in caught.learner.optimizer.param_groups}


def _group(name: str) -> Callable[[Caught], object]:
    return lambda caught: {group[name] for group in caught.learner.optimizer.param_groups}


def _factor(step: int) -> Callable[[Caught], object]:
    """What the schedule multiplies the rate by."""
    return lambda caught: pytest.approx(caught.learner.schedule.lr_lambdas[0](step))


def _clip(name: str) -> Callable[[Caught], object]:
    return lambda caught: {getattr(holder.clip, name) for holder in (caught.loader.dataset, caught.callbacks.card)}


def _pixels(name: str) -> Callable[[Caught], object]:
    holders = lambda caught: (caught.loader.dataset, caught.callbacks.card, caught.objective)  # noqa: E731
    return lambda caught: {getattr(holder.pixels, name) for holder in holders(caught)}


def _augment(name: str) -> Callable[[Caught], object]:
    return lambda caught: getattr(caught.loader.dataset.augment, name)


def _objective(name: str) -> Callable[[Caught], object]:
    return lambda caught: getattr(caught.objective, name)


def _judges(caught: Caught) -> tuple[Any, ...]:
    """What scores videos, in training, between epochs, and by the weights file."""
    return caught.objective, caught.callbacks.validate.card, caught.callbacks.card


def _network(caught: Caught) -> nn.Module:
    """What the card describes: the network, or the student in it."""
    network: nn.Module = caught.learner.network
    return getattr(network, "student", network)


def _spec(name: str) -> Callable[[Caught], object]:
    return lambda caught: getattr(_network(caught).spec, name)


def _averaged(caught: Caught) -> float:
    """The average of a weight that is first one, then zero."""
    learner = caught.learner
    for value in (1.0, 0.0):
        nn.init.constant_(next(learner.network.parameters()), value)
        learner.average.update_parameters(learner.network)
    return float(next(learner.average.module.parameters()).detach().flatten()[0])


def _frozen(caught: Caught) -> set[str]:
    return {
        name.split(".")[0] for name, weight in caught.learner.network.named_parameters() if not weight.requires_grad
    }


def _blocks(caught: Caught) -> int:
    """Parameters of the dense blocks and what stands between them."""
    return sum(weight.numel() for weight in _network(caught).stages.parameters())


_TINY = sum(weight.numel() for weight in create_model("densenet3d_tiny", num_classes=2).stages.parameters())
_ON = ("--select-on", "validation")
Probes = dict[str, Probe | str]

SHARED: Probes = {
    "arch": Probe(flags=("--arch", "densenet3d_tiny"), look=_blocks, value=_TINY),
    "dropout": Probe(
        flags=("--dropout", 0.3),
        look=lambda c: {module.p for module in _network(c).modules() if isinstance(module, nn.Dropout)},
        value={0.3},
    ),
    "head": Probe(
        flags=("--arch", "c3d", "--head", "mean", "--overrides", "widths=[[2],[2],[2],[2],[2]]"),
        look=_spec("head"),
        value="mean",
    ),
    "ttl_compress": Probe(flags=("--ttl-compress",), look=lambda c: _network(c).spec.ttl_compress, value=True),
    "overrides": Probe(
        flags=("--overrides", "blocks=[1,1,1,1]", "ttl_width=4"),
        look=lambda c: (_network(c).spec.blocks, _network(c).spec.ttl_width, dict(c.callbacks.card.overrides)),
        value=((1, 1, 1, 1), 4, {"keep_last_plane": True, "blocks": [1, 1, 1, 1], "ttl_width": 4}),
    ),
    "keep_last_plane": Probe(flags=(), look=lambda c: _network(c).spec.keep_last_plane, value=True),
    "num_frames": Probe(flags=("--num-frames", 5), look=_clip("num_frames"), value={5}),
    "frame_stride": Probe(flags=("--frame-stride", 3), look=_clip("frame_stride"), value={3}),
    "short": Probe(flags=("--short", "hold"), look=_clip("short"), value={"hold"}),
    "order": Probe(flags=("--order", "shuffled"), look=_clip("order"), value={"shuffled"}),
    "resize": Probe(flags=("--resize", 40), look=_pixels("resize"), value={40}),
    "resize_mode": Probe(flags=("--resize-mode", "exact"), look=_pixels("resize_mode"), value={"exact"}),
    "crop_size": Probe(flags=("--resize", 40, "--crop-size", 36), look=_pixels("crop_size"), value={36}),
    "mean": Probe(flags=("--mean", 0.1, 0.2, 0.3), look=_pixels("mean"), value={(0.1, 0.2, 0.3)}),
    "std": Probe(flags=("--std", 0.1, 0.2, 0.3), look=_pixels("std"), value={(0.1, 0.2, 0.3)}),
    "modality": Probe(flags=("--modality", "difference"), look=_pixels("modality"), value={"difference"}),
    "flow_method": Probe(flags=("--flow-method", "farneback"), look=_pixels("flow_method"), value={"farneback"}),
    "flow_bound": Probe(flags=("--flow-bound", 0.1), look=_pixels("flow_bound"), value={0.1}),
    "crop": Probe(flags=("--crop", "random"), look=_augment("crop"), value="random"),
    "scales": Probe(flags=("--scales", 0.5, 0.7), look=_augment("scales"), value=(0.5, 0.7)),
    "flip_probability": Probe(flags=("--flip-probability", 0.25), look=_augment("flip_probability"), value=0.25),
    "brightness": Probe(flags=("--brightness", 0.1), look=_augment("brightness"), value=0.1),
    "contrast": Probe(flags=("--contrast", 0.2), look=_augment("contrast"), value=0.2),
    "saturation": Probe(flags=("--saturation", 0.3), look=_augment("saturation"), value=0.3),
    "hue": Probe(flags=("--hue", 0.4), look=_augment("hue"), value=0.4),
    "batch_size": Probe(
        flags=("--batch-size", 3), look=lambda c: (c.loader.batch_size, c.sampler.batch_size), value=(3, 3)
    ),
    "accumulate": Probe(flags=("--accumulate", 4), look=_objective("accumulate"), value=4),
    "lr": Probe(flags=("--lr", 0.3), look=lambda c: set(_rates(c).values()), value={0.3}),
    "momentum": Probe(flags=("--momentum", 0.7), look=_group("momentum"), value={0.7}),
    "nesterov": Probe(flags=("--no-nesterov",), look=_group("nesterov"), value={False}),
    "weight_decay": Probe(flags=("--weight-decay", 0.02), look=_group("weight_decay"), value={0.02}),
    "clip_norm": Probe(flags=("--clip-norm", 2.5), look=_objective("clip_norm"), value=2.5),
    "ema_decay": Probe(flags=("--ema-decay", 0.75), look=_averaged, value=0.75),
    "schedule": Probe(
        flags=("--schedule", "cosine", "--warmup-steps", 0, "--max-steps", 10), look=_factor(5), value=0.5
    ),
    "warmup_steps": Probe(flags=("--schedule", "step", "--warmup-steps", 4), look=_factor(0), value=0.25),
    "decay_factor": Probe(
        flags=("--schedule", "plateau", "--decay-factor", 0.3), look=lambda c: c.callbacks.plateau[0], value=0.3
    ),
    "plateau_patience": Probe(
        flags=("--schedule", "plateau", "--plateau-patience", 4), look=lambda c: c.callbacks.plateau[1], value=4
    ),
    "early_stop_epochs": Probe(flags=("--early-stop-epochs", 3), look=lambda c: c.callbacks.early_stop_epochs, value=3),
    "seed": Probe(flags=("--seed", 7), look=lambda c: {c.seed, c.loader.dataset.seed, c.sampler.seed}, value={7}),
    "workers": Probe(
        flags=("--workers", 1), look=lambda c: (c.loader.num_workers, c.callbacks.validate.num_workers), value=(1, 1)
    ),
    "devices": "test_machine_options_reach_fabric",
    "nodes": "test_machine_options_reach_fabric",
    "accelerator": "test_machine_options_reach_fabric",
    "precision": "test_machine_options_reach_fabric",
    "channels_last": Probe(
        flags=("--channels-last",),
        look=lambda c: {
            weight.is_contiguous(memory_format=torch.channels_last_3d)
            for weight in c.learner.network.parameters()
            if weight.dim() == 5
        },
        value={True},
    ),
    "recompute": Probe(
        flags=("--recompute",),
        look=lambda c: {block.recompute for block in c.learner.network.modules() if isinstance(block, DenseBlock)},
        value={True},
    ),
    "plain": "test_plain_leaves_out_the_fused_steps",
    "compile": "test_compile_reaches_learner_and_objective",
    "checkpoint_steps": Probe(flags=("--checkpoint-steps", 5), look=lambda c: c.callbacks.checkpoint_steps, value=5),
    "bad_videos": Probe(
        flags=("--bad-videos", "skip", "--resize", 64, "--crop-size", 64),
        look=_objective("skip_bad_videos"),
        value=True,
    ),
    "twin": Probe(
        flags=("--twin", "--num-frames", 1),
        look=lambda c: (_spec("ttl_flat")(c), _spec("stem_kernel")(c)),
        value=(True, (1, 7, 7)),
    ),
}

WATCHED = ("decay_factor", "plateau_patience", "early_stop_epochs", "workers")
"""Of a training, they act on validation, which a transfer always has."""


def _watched(probe: Probe | str) -> Probe:
    assert isinstance(probe, Probe)
    return replace(probe, flags=(*probe.flags, *_ON))


TRAIN_PROBES: Probes = {
    **SHARED,
    **{name: _watched(SHARED[name]) for name in WATCHED},
    "data": Probe(flags=(), look=lambda c: len(c.loader.dataset.samples), value=8),
    "output": Probe(flags=(), look=lambda c: (c.callbacks.folder / "config.json").exists(), value=True),
    "preset": Probe(
        flags=("--preset", "paper-finetune"), look=lambda c: c.callbacks.card.training["preset"], value="paper-finetune"
    ),
    "split": "test_split_and_format_reach_the_reader",
    "format": "test_split_and_format_reach_the_reader",
    "init": "test_initial_weights_are_those_of_the_file",
    "resume": "test_run_killed_at_some_update_ends_in_the_same_weights",
    "overwrite": "test_overwrite_removes_what_the_old_run_left",
    "freeze": Probe(flags=("--freeze", 1), look=_frozen, value={"stem"}),
    "layer_decay": Probe(
        flags=("--layer-decay", 0.5, "--lr", 1),
        look=_rates,
        value={5: 1.0, 4: 0.5, 3: 0.25, 2: 0.125, 1: 0.0625, 0: 0.03125},
    ),
    "label_smoothing": Probe(flags=("--label-smoothing", 0.1), look=_objective("label_smoothing"), value=0.1),
    "balance": "test_balance_acts_on_loss_or_sampler",
    "epochs": Probe(flags=("--epochs", 3, "--min-steps", 0), look=lambda c: c.num_steps, value=12),
    "min_steps": Probe(flags=("--epochs", 3, "--min-steps", 50), look=lambda c: c.num_steps, value=50),
    "max_steps": Probe(flags=("--epochs", 3, "--max-steps", 7), look=lambda c: c.num_steps, value=7),
    "step_epochs": Probe(
        flags=("--schedule", "step", "--warmup-steps", 0, "--step-epochs", 2),
        look=lambda c: [round(c.learner.schedule.lr_lambdas[0](step), 6) for step in (7, 8)],
        value=[1.0, 0.1],
    ),
    "select_on": Probe(flags=("--select-on", "test"), look=lambda c: len(c.callbacks.validate.videos.samples), value=5),
    "validation_fraction": Probe(
        flags=(*_ON, "--validation-fraction", 0.5),
        look=lambda c: (len(c.callbacks.validate.videos.samples), len(c.loader.dataset.samples)),
        value=(4, 4),
    ),
    "allow_shared_groups": "test_shared_groups_are_allowed_only_with_a_caveat",
    "backend": Probe(
        flags=("--backend", "torchcodec"),
        look=lambda c: (c.loader.dataset.open_video.func, c.loader.dataset.open_video.keywords["backend"]),
        value=(open_video, "torchcodec"),
    ),
    "labels_per_class": Probe(
        flags=("--labels-per-class", 2),
        look=lambda c: Counter(s.label for s in c.loader.dataset.samples),
        value={0: 2, 1: 2},
    ),
    "train_fraction": Probe(
        flags=("--train-fraction", 0.25),
        look=lambda c: Counter(s.label for s in c.loader.dataset.samples),
        value={0: 1, 1: 1},
    ),
    "inflate": "test_inflate_decides_what_becomes_of_a_kernel",
    "keep_fc": "test_keep_fc_keeps_the_layer_of_the_transfer",
    "segments": Probe(
        flags=("--segments", 3, *_ON),
        look=lambda c: (c.loader.dataset.segments, {holder.segments for holder in _judges(c)}),
        value=(3, {SegmentSpec(segments=3)}),
    ),
    "consensus": Probe(
        flags=("--segments", 3, "--consensus", "max", *_ON),
        look=lambda c: {holder.segments.consensus for holder in _judges(c)},
        value={"max"},
    ),
    "consensus_top": Probe(
        flags=("--segments", 3, "--consensus", "top-k", "--consensus-top", 3, *_ON),
        look=lambda c: {holder.segments.consensus_top for holder in _judges(c)},
        value={3},
    ),
    "recompute_segments": Probe(
        flags=("--segments", 3, "--recompute-segments"), look=_objective("recompute_segments"), value=True
    ),
}

TRANSFER_PROBES: Probes = {
    **SHARED,
    "data": Probe(flags=(), look=lambda c: len(c.loader.dataset.places), value=11),  # 13 videos, less 2 held out
    "output": Probe(flags=(), look=lambda c: (c.callbacks.folder / "config.json").exists(), value=True),
    "preset": Probe(
        flags=("--preset", "paper-transfer"), look=lambda c: c.callbacks.card.training["preset"], value="paper-transfer"
    ),
    "split": Probe(
        flags=("--split", 1),
        look=lambda c: [p.sample.name[:11] for p in c.loader.dataset.places],
        value=["clips/train"] * 6,
    ),
    "format": "test_split_and_format_reach_the_reader",
    "resume": "test_transfer_preset_takes_three_steps_and_resumes",
    "overwrite": "test_overwrite_replaces_a_finished_transfer",
    "teacher": Probe(
        flags=(),
        look=lambda c: (c.callbacks.card.training["teacher"]["name"], c.learner.network.matcher.teacher.in_features),
        value=("colour_statistics", 6),
    ),
    "teacher_weights": "test_teacher_weights_reach_the_teacher",
    "teacher_size": Probe(
        flags=("--live", "--teacher-size", 48),
        look=lambda c: (c.objective.teacher.pixels.crop_size, c.loader.dataset.teacher_views.pixels.crop_size),
        value=(48, 48),
    ),
    "pictures": Probe(
        flags=("--live", "--pictures", 3), look=lambda c: c.loader.dataset.teacher_views.num_pictures, value=3
    ),
    "live": "test_a_live_teacher_sees_pictures_and_a_cached_one_is_not_asked_again",
    "windows": Probe(flags=("--windows", 2), look=lambda c: len(c.loader.dataset.places), value=22),
    "negatives": Probe(
        flags=("--negatives", "independent"),
        look=lambda c: (c.loader.dataset.draw, c.objective.in_batch, c.callbacks.validate.pairs.draw),
        value=("independent", False, "both"),
    ),
    "hard_negatives": Probe(
        flags=("--hard-negatives",),
        look=lambda c: (c.loader.dataset.hard, c.callbacks.validate.pairs.hard),
        value=(True, False),
    ),
    "contrastive": Probe(flags=("--contrastive", 0.5), look=_objective("contrastive"), value=0.5),
    "matcher_norm": Probe(
        flags=("--no-matcher-norm",),
        look=lambda c: {
            type(layer) for layer in (c.learner.network.matcher.student_norm, c.learner.network.matcher.teacher_norm)
        },
        value={nn.Identity},
    ),
    "holdout_fraction": Probe(
        flags=("--holdout-fraction", 5 / 13),
        look=lambda c: (len(c.callbacks.validate.pairs), len(c.loader.dataset)),
        value=(5, 8),
    ),
    "control": "test_controls_act",
    "probe": "test_probe_options_reach_the_reader",
    "probe_split": "test_probe_options_reach_the_reader",
    "probe_format": "test_probe_options_reach_the_reader",
    # Eleven clips in batches of two are five updates an epoch; the rest is dropped.
    "epochs": Probe(flags=("--epochs", 3, "--min-steps", 0), look=lambda c: c.num_steps, value=15),
    "min_steps": Probe(flags=("--epochs", 3, "--min-steps", 50), look=lambda c: c.num_steps, value=50),
    "max_steps": Probe(flags=("--epochs", 3, "--max-steps", 7), look=lambda c: c.num_steps, value=7),
    "step_epochs": Probe(
        flags=("--schedule", "step", "--warmup-steps", 0, "--step-epochs", 2),
        look=lambda c: [round(c.learner.schedule.lr_lambdas[0](step), 6) for step in (9, 10)],
        value=[1.0, 0.1],
    ),
    "backend": Probe(
        flags=("--live", "--backend", "torchcodec"),  # live, for nothing is decoded before the first batch
        look=lambda c: (c.loader.dataset.open_video.func, c.loader.dataset.open_video.keywords["backend"]),
        value=(open_video, "torchcodec"),
    ),
}


class _FitError(Exception):
    """Ends a training where it would begin."""


def _catch(recipe: ModuleType, monkeypatch: pytest.MonkeyPatch, given: Sequence[object]) -> Caught:
    """What the `fit` of a recipe is called with."""
    verb = recipe.__name__.rpartition(".")[2]
    caught = Caught()

    def fit(learner: object, loader: object, sampler: object, **named: object) -> None:
        vars(caught).update(learner=learner, loader=loader, sampler=sampler, **named)
        raise _FitError

    monkeypatch.setattr(_training, "fit", fit)
    with pytest.raises(_FitError):
        recipe.run(_parse(verb, COMMANDS[verb], [str(flag) for flag in given]), command=f"t3d {verb}")
    return caught


@pytest.fixture
def catch(dataset: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Caught]:
    """What a training calls `fit` with, under these flags."""

    def run(*flags: object, data: Path = dataset) -> Caught:
        return _catch(train, monkeypatch, (data, "--output", tmp_path / "run", *MICRO, *flags))

    return run


@pytest.fixture
def catch_transfer(dataset: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Caught]:
    """What a transfer calls `fit` with, under these flags; one window a video unless they say otherwise."""
    monkeypatch.setenv("T3D_CACHE", str(tmp_path / "cache"))

    def run(*flags: object, data: Path = dataset) -> Caught:
        return _catch(transfer, monkeypatch, (data, "--output", tmp_path / "run", *TRANSFER, *flags))

    return run


ALONE = {
    *("arch", "head", "overrides", "twin", "preset", "recompute"),  # another network than the others look at
    *("data", "split", "epochs", "min_steps", "max_steps", "step_epochs", "schedule"),  # they count the usual videos
    *("labels_per_class", "train_fraction", "validation_fraction", "holdout_fraction", "windows"),  # other counts
    *("layer_decay", "segments", "negatives"),  # they look at all of what others change a part of
}
"""Fields that are tried by themselves; the others share a training wherever their flags allow it."""


def _bundles(probes: Probes) -> list[tuple[str, ...]]:
    """Fields whose flags do not contradict each other."""
    names: list[list[str]] = []
    given: list[dict[object, list[object]]] = []
    for name, probe in probes.items():
        if isinstance(probe, str):
            continue
        flags = _by_flag(probe)
        place = next((i for i, other in enumerate(given) if _agree(flags, other)), None) if name not in ALONE else None
        if place is None:
            names.append([name])
            given.append(flags if name not in ALONE else {"alone": [name]})
        else:
            names[place].append(name)
            given[place] |= flags
    return [tuple(bundle) for bundle in names]


def _agree(flags: dict[object, list[object]], other: dict[object, list[object]]) -> bool:
    return "alone" not in other and all(other.get(flag, values) == values for flag, values in flags.items())


def _by_flag(probe: Probe) -> dict[object, list[object]]:
    found: dict[object, list[object]] = {}
    for word in probe.flags:
        if str(word).startswith("--"):
            found[word] = []
        else:
            found[list(found)[-1]].append(word)
    return found


def _try(probes: Probes, bundle: tuple[str, ...], catch: Callable[..., Caught]) -> None:
    flags: dict[object, list[object]] = {}
    chosen = {name: probe for name in bundle if isinstance(probe := probes[name], Probe)}
    for probe in chosen.values():
        flags |= _by_flag(probe)
    caught = catch(*(word for flag, values in flags.items() for word in (flag, *values)))
    for name, probe in chosen.items():
        assert probe.look(caught) == probe.value, name


@pytest.mark.parametrize("bundle", _bundles(TRAIN_PROBES), ids="+".join)
def test_field_acts(bundle: tuple[str, ...], catch: Callable[..., Caught]) -> None:
    _try(TRAIN_PROBES, bundle, catch)


@pytest.mark.parametrize("bundle", _bundles(TRANSFER_PROBES), ids="+".join)
def test_transfer_field_acts(bundle: tuple[str, ...], catch_transfer: Callable[..., Caught]) -> None:
    _try(TRANSFER_PROBES, bundle, catch_transfer)


def _leaves(kind: type) -> Iterator[str]:
    for field in fields(kind):
        inner = field.default_factory() if callable(field.default_factory) else None
        if is_dataclass(inner):
            yield from _leaves(type(inner))
        else:
            yield field.name


@pytest.mark.parametrize(("config", "probes"), [(TrainConfig, TRAIN_PROBES), (TransferConfig, TRANSFER_PROBES)])
def test_every_field_has_an_assertion_where_it_acts(config: type, probes: Probes) -> None:
    assert set(_leaves(config)) == set(probes)
    text = "".join(path.read_text() for path in Path(__file__).parent.parent.rglob("test_*.py"))
    elsewhere = [name for name in probes.values() if isinstance(name, str)]
    assert [name for name in elsewhere if f"def {name}(" not in text] == []


def _refusal(verb: str, *given: object) -> str:
    """What is said of flags that are accepted one by one."""
    recipe = {"train": train, "transfer": transfer}[verb]
    with pytest.raises((ConfigError, DataError)) as caught:
        recipe.run(_parse(verb, COMMANDS[verb], [str(flag) for flag in given]), command=f"t3d {verb}")
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize("flags", [("--split", 9), ("--split", 1, "--format", "kinetics")])
@pytest.mark.parametrize("verb", ["train", "transfer"])
def test_split_and_format_reach_the_reader(verb: str, flags: tuple[object, ...], dataset: Path, tmp_path: Path) -> None:
    text = _refusal(verb, dataset, "--output", tmp_path, *(MICRO if verb == "train" else TRANSFER), *flags)
    assert ("no split 9" if flags[1] == 9 else "no folder in it holds videos") in text


@pytest.mark.parametrize(
    ("flags", "reason"),
    [
        (("--probe", "nothing.csv"), "nothing.csv: no such folder or file"),
        (("--probe", "DATA", "--probe-split", 9), "no split 9"),
        (("--probe", "DATA", "--probe-format", "kinetics"), "no folder in it holds videos"),
    ],
)
def test_probe_options_reach_the_reader(flags: tuple[object, ...], reason: str, dataset: Path, tmp_path: Path) -> None:
    """Before anything is learnt or written."""
    given = [dataset if flag == "DATA" else flag for flag in flags]
    assert reason in _refusal("transfer", dataset, "--output", tmp_path / "run", *TRANSFER, *given)
    assert not (tmp_path / "run").exists()


def test_teacher_weights_reach_the_teacher(dataset: Path, tmp_path: Path) -> None:
    file = tmp_path / "weights.pth"
    text = _refusal("transfer", dataset, "--output", tmp_path / "run", *TRANSFER, "--teacher-weights", file)
    assert text == f"teacher colour_statistics has no weights; leave out --teacher-weights {file}"


def test_a_live_teacher_sees_pictures_and_a_cached_one_is_not_asked_again(
    catch_transfer: Callable[..., Caught], tmp_path: Path
) -> None:
    live = catch_transfer("--live")
    assert isinstance(live.loader.dataset.teacher_views, LivePictures)
    assert live.objective.teacher.name == live.callbacks.validate.objective.teacher.name == "colour_statistics"
    assert {place.start for place in live.loader.dataset.places} == {None}
    assert not (tmp_path / "cache").exists()
    cached = catch_transfer("--overwrite")
    assert cached.loader.dataset.teacher_views.shape == (11, 6)
    assert cached.objective.teacher is cached.callbacks.validate.objective.teacher is None
    assert None not in {place.start for place in cached.loader.dataset.places}
    assert [file.suffix for file in (tmp_path / "cache" / "teacher").iterdir() if file.suffix != ".lock"] == [".sqlite"]


def test_controls_act(catch_transfer: Callable[..., Caught], tmp_path: Path) -> None:
    """Every video has a brightness of its own."""
    (tmp_path / "grey").mkdir()
    for index in range(8):
        write_video(tmp_path / "grey" / f"{index}.mp4", torch.full((8, 32, 48, 3), 20 + 25 * index, dtype=torch.uint8))
    plain, shuffled, colours = (
        catch_transfer("--overwrite", "--control", kind, data=tmp_path / "grey")
        for kind in ("none", "shuffled-pairs", "colour-statistics")
    )
    names = [[place.sample.name for place in caught.loader.dataset.places] for caught in (plain, shuffled)]
    assert names[0] == names[1]
    looks, exchanged = plain.loader.dataset.teacher_views, shuffled.loader.dataset.teacher_views
    assert not (looks == exchanged).all(dim=1).any()
    assert sorted(looks.tolist()) == sorted(exchanged.tolist())
    held_out = shuffled.callbacks.validate.pairs.teacher_views
    assert held_out.flip(0).equal(plain.callbacks.validate.pairs.teacher_views)  # of two places
    assert isinstance(_network(colours), ColourStatistics)
    assert colours.learner.network.matcher.student.in_features == 6
    assert colours.callbacks.card.arch == "colour_statistics"


def test_overwrite_replaces_a_finished_transfer(
    catch_transfer: Callable[..., Caught], dataset: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "run"
    folder.mkdir()
    left = [folder / name for name in ("training.json", WEIGHTS_NAME, MATCHER_NAME, "log.csv")]
    for file in left:
        file.touch()
    assert "--overwrite to replace it" in _refusal("transfer", dataset, "--output", folder, *TRANSFER)
    assert all(file.exists() for file in left)
    catch_transfer("--overwrite")
    assert not any(file.exists() for file in left)


def _flat_run(folder: Path) -> nn.Module:
    """A run of the 2D twin of what `catch` trains; gives its network."""
    overrides = twin_overrides("t3d_tiny", keep_last_plane=True)
    twin = create_model("t3d_tiny", num_classes=2, generator=torch.Generator().manual_seed(5), **overrides)
    folder.mkdir()
    save_weights(folder / WEIGHTS_NAME, twin.state_dict(), _card(overrides, ("a", "b")))
    return twin


def _card(overrides: dict[str, Any], labels: tuple[str, ...]) -> ModelCard:
    clip, pixels = ClipSpec(num_frames=4), PixelSpec(resize=32, crop_size=32)
    training = {"command": "t3d transfer x", "lineage": [{"file": "first"}]}
    return ModelCard(arch="t3d_tiny", overrides=overrides, labels=labels, clip=clip, pixels=pixels, training=training)


@pytest.mark.parametrize("how", ["centre", "repeat"])
def test_inflate_decides_what_becomes_of_a_kernel(how: str, catch: Callable[..., Caught], tmp_path: Path) -> None:
    flat = _flat_run(tmp_path / "flat")
    caught = catch("--init", tmp_path / "flat", "--inflate", how)
    plane, network = flat.stem.conv.weight[:, :, 0], caught.learner.network
    zero = torch.zeros_like(plane)
    planes = [zero, plane, zero] if how == "centre" else [plane / 3] * 3
    assert network.stem.conv.weight.equal(torch.stack(planes, dim=2))
    assert network.classifier.weight.equal(flat.classifier.weight)  # the same classes
    first, last = caught.callbacks.card.training["lineage"]
    assert first == {"file": "first"}
    assert (last["inflated"], last["arch"], last["command"]) == (how, "t3d_tiny", "t3d transfer x")


def test_keep_fc_keeps_the_layer_of_the_transfer(catch: Callable[..., Caught], tmp_path: Path) -> None:
    student = create_model("t3d_tiny", num_classes=0, keep_last_plane=True)
    matcher = Matcher(student_features=student.num_features, teacher_features=6)
    save_weights(tmp_path / WEIGHTS_NAME, student.state_dict(), _card({"keep_last_plane": True}, ()))
    save_matcher(tmp_path / MATCHER_NAME, matcher)
    plain = catch("--init", tmp_path)
    assert isinstance(plain.learner.network.neck, nn.Identity)
    caught = catch("--init", tmp_path, "--keep-fc")
    network = caught.learner.network
    assert network.neck.weight.equal(matcher.student.weight)
    assert network.stem.conv.weight.equal(student.stem.conv.weight)
    assert network.classifier.in_features == 1024
    assert caught.callbacks.card.overrides == {"keep_last_plane": True, "neck": 1024}


def test_balance_acts_on_loss_or_sampler(catch: Callable[..., Caught], dataset: Path, tmp_path: Path) -> None:
    clips = dataset.parent / "clips"
    rows = [
        {"path": str(clips / f"train{index}.mp4"), "label": "aaab"[index], "split": "train", "group": str(index)}
        for index in range(4)
    ]
    data = write_list(tmp_path / "rare.csv", rows)
    plain, loss, sampler = (catch("--balance", kind, "--overwrite", data=data) for kind in ("none", "loss", "sampler"))
    assert plain.objective.class_weights is plain.sampler.weights is loss.sampler.weights is None
    assert loss.objective.class_weights.tolist() == pytest.approx([4 / (2 * 3), 4 / 2])
    assert sampler.sampler.weights.tolist() == pytest.approx([1 / 3, 1 / 3, 1 / 3, 1])


def test_shared_groups_are_allowed_only_with_a_caveat(
    catch: Callable[..., Caught], dataset: Path, tmp_path: Path
) -> None:
    clips = dataset.parent / "clips"
    rows = [
        {"path": str(clips / f"{name}.mp4"), "label": label, "split": name[:-1], "group": "one"}
        for name, label in (("train0", "a"), ("train1", "b"), ("test0", "a"))
    ]
    data = write_list(tmp_path / "shared.csv", rows)
    caught = catch("--allow-shared-groups", data=data)
    assert "--allow-shared-groups" in caught.callbacks.card.training["caveats"][0]


@pytest.mark.parametrize("verb", ["train", "transfer"])
@pytest.mark.parametrize("lack", ["recompute", "dropout", "compiler"])
def test_what_cannot_be_had_is_refused_before_anything_is_written(
    verb: str, lack: str, dataset: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CXX", "no-such-compiler")
    flags, says = {
        "recompute": (("--arch", "resnet3d_tiny", "--recompute"), "this network has none"),
        "dropout": (("--dropout", "0.2", "--recompute"), "leave out --recompute"),
        "compiler": (("--compile",), "there is no no-such-compiler; install one"),
    }[lack]
    refusal = _refusal(verb, dataset, "--output", tmp_path, *(MICRO if verb == "train" else TRANSFER), *flags)
    assert says in refusal
    assert list(tmp_path.iterdir()) == []


@pytest.mark.filterwarnings("ignore:.*script_method:DeprecationWarning")  # torch 2.13, importing its own compiler
def test_compile_reaches_learner_and_objective(
    catch: Callable[..., Caught], catch_transfer: Callable[..., Caught], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("T3D_CACHE", str(tmp_path))
    monkeypatch.setenv("CXX", sys.executable)  # there is one; it is not used
    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", "")  # so that it is taken back in the end
    monkeypatch.delenv("TORCHINDUCTOR_CACHE_DIR")
    for caught in (catch("--compile"), catch_transfer("--compile")):
        assert caught.learner.compiled_for == 2
        assert caught.learner.model._forward_module._orig_mod is caught.learner.network
    assert caught.objective.compiled
    assert os.environ["TORCHINDUCTOR_CACHE_DIR"].endswith("compiled")


def test_plain_leaves_out_the_fused_steps(
    catch: Callable[..., Caught], catch_transfer: Callable[..., Caught], monkeypatch: pytest.MonkeyPatch
) -> None:
    told: list[dict[str, object]] = []
    monkeypatch.setattr(learner, "accelerate", lambda network, **named: told.append(named))
    assert catch("--plain").learner.savings == []
    catch_transfer("--plain")
    assert told == []
    catch("--recompute")
    assert told == [{"recompute": True}]


@pytest.mark.parametrize(
    ("flags", "savings"),
    [
        ((), ["--recompute"]),
        (("--recompute",), []),
        (("--dropout", 0.2), []),
        (("--arch", "resnet3d_tiny"), []),
        (("--segments", 2), ["--recompute", "--recompute-segments"]),
        (("--segments", 2, "--recompute-segments"), ["--recompute"]),
    ],
)
def test_only_what_saves_memory_is_recommended_for_it(
    flags: tuple[object, ...], savings: list[str], catch: Callable[..., Caught]
) -> None:
    assert catch(*flags).learner.savings == savings


@pytest.mark.parametrize("verb", ["train", "transfer"])
def test_machine_options_reach_fabric(
    verb: str, monkeypatch: pytest.MonkeyPatch, dataset: Path, tmp_path: Path
) -> None:
    asked: dict[str, Any] = {}

    def refuse(**options: object) -> None:
        asked.update(options)
        raise ValueError("seen")

    monkeypatch.setattr(device, "Fabric", refuse)
    flags = ("--devices", "2", "--nodes", "3", "--precision", "bf16-mixed", "--accelerator", "cpu")
    given = (dataset, "--output", tmp_path, *(MICRO if verb == "train" else TRANSFER), *flags)
    assert "seen" in _refusal(verb, *given)
    assert asked == {"devices": 2, "num_nodes": 3, "precision": "bf16-mixed", "accelerator": "cpu"}


@pytest.mark.parametrize(
    "flags",
    [
        ("--momentum", "-0.1"),
        ("--lr", "nan"),
        ("--ema-decay", "1.5"),
        ("--weight-decay", "-1"),
        ("--label-smoothing", "2"),
        ("--early-stop-epochs", "0"),
        ("--validation-fraction", "1"),
        ("--seed", "-1"),
        ("--early-stop-epochs", "3", "--select-on", "none"),
        ("--schedule", "plateau", "--select-on", "none"),
        ("--resume", "--overwrite"),
        ("--labels-per-class", "0"),
        ("--train-fraction", "1.5"),
        ("--inflate", "centre"),
        ("--keep-fc",),
        ("--recompute-segments",),
        ("--segments", "0"),
        ("--consensus", "max"),
        ("--consensus-top", "3", "--segments", "2", "--consensus", "top-k"),
        ("--recompute-segments", "--segments", "2", "--devices", "2"),
        ("--recompute-segments", "--segments", "2", "--compile", "--lr", "1"),
        ("--recompute", "--compile"),
        ("--recompute", "--plain"),
        ("--labels-per-class", "5", "--train-fraction", "0.5", "--lr", "1"),
    ],
)
def test_value_out_of_range_is_named(flags: tuple[str, ...]) -> None:
    with pytest.raises(ConfigError, match=flags[0] if len(flags) != 4 else "--select-on"):
        _parse("train", COMMANDS["train"], ["data", *flags])


@pytest.mark.parametrize(
    "flags",
    [
        ("--teacher-size", "0"),
        ("--pictures", "0"),
        ("--windows", "0"),
        ("--batch-size", "1"),
        ("--contrastive", "-1"),
        ("--contrastive", "nan"),
        ("--contrastive", "1", "--negatives", "independent"),
        ("--holdout-fraction", "0"),
        ("--holdout-fraction", "1"),
        ("--format", "csv"),
        ("--live", "--control", "shuffled-pairs"),
        ("--lr", "nan"),
        ("--seed", "-1"),
        ("--ema-decay", "1.5"),
        ("--resume", "--overwrite"),
        ("--recompute", "--compile"),
    ],
)
def test_value_out_of_range_is_named_for_a_transfer(flags: tuple[str, ...]) -> None:
    with pytest.raises(ConfigError, match=flags[0]) as caught:
        _parse("transfer", COMMANDS["transfer"], ["data", *flags])
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("flags", "reason"),
    [
        (("--hue", "0.1"), "--hue is of pictures"),
        (("--brightness", "0.1"), "--brightness is of pictures"),
        (("--std", "0.2", "0.2", "0.2"), "--mean and --std are of pictures"),
        (("--resize", "15", "--crop-size", "15"), "--resize 15: flow needs pictures of 16 pixels"),
        (("--flow-bound", "0"), "--flow-bound"),
        (("--flow-bound", "nan"), "--flow-bound"),
        (("--order", "shuffled"), "--order shuffled: .* would leave motion in"),
    ],
)
def test_flow_refuses_what_is_of_pictures(flags: tuple[str, ...], reason: str) -> None:
    with pytest.raises(ConfigError, match=reason) as caught:
        _parse("train", COMMANDS["train"], ["data", "--modality", "flow", *flags])
    assert "\n" not in str(caught.value)


def test_a_transfer_refuses_flow_for_its_teacher_sees_pictures() -> None:
    with pytest.raises(ConfigError, match="--modality flow: a transfer needs the pictures"):
        _parse("transfer", COMMANDS["transfer"], ["data", "--modality", "flow"])


@pytest.mark.parametrize(
    ("flags", "reason"),
    [
        (("a",), "two run folders or more"),
        (("a", "b", "--output", "./b"), "--output b: is one of the runs"),
        (("a", "b", "--weights", "1"), "--weights: 1 values for 2 runs"),
        (("a", "b", "--weights", "1", "-1"), "must be at least 0"),
        (("a", "b", "--weights", "0", "0"), "not all 0"),
        (("a", "b", "--weights", "1", "inf"), "must be at least 0"),
        (("a", "b", "--weights", "nan", "1"), "must be at least 0"),
    ],
)
def test_fusion_refuses_what_makes_no_sense(flags: tuple[str, ...], reason: str) -> None:
    with pytest.raises(ConfigError, match=reason):
        _parse("fuse", COMMANDS["fuse"], flags)


def test_other_commands_refuse_what_makes_no_sense() -> None:
    with pytest.raises(ConfigError, match="--top 0"):
        PredictConfig(weights=Path("run"), files=(Path("clip.mp4"),), top=0)
    with pytest.raises(ConfigError, match="--devices 0"):
        EvaluateConfig(weights=Path("run"), devices=0)


def test_weights_do_not_depend_on_what_was_drawn_before(catch: Callable[..., Caught]) -> None:
    first = catch("--seed", 3).learner.network.classifier.weight.clone()
    torch.rand(5)
    assert torch.equal(first, catch("--seed", 3).learner.network.classifier.weight)


def test_student_and_matcher_do_not_depend_on_what_was_drawn_before(catch_transfer: Callable[..., Caught]) -> None:
    first = catch_transfer("--seed", 3).learner.network
    torch.rand(5)
    second, other = (catch_transfer("--seed", seed, "--overwrite").learner.network for seed in (3, 4))
    assert all(one.equal(two) for one, two in zip(first.parameters(), second.parameters(), strict=True))
    assert not first.student.stem.conv.weight.equal(other.student.stem.conv.weight)
    assert not first.matcher.head[0].weight.equal(other.matcher.head[0].weight)
