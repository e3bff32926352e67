"""Every field of a training is asserted where it acts: in what `fit` is called with, not in the parser."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, fields, is_dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import nn

from program import MICRO, write_list
from t3d.cli import COMMANDS, _parse
from t3d.config import EvaluateConfig, PredictConfig, TrainConfig
from t3d.errors import ConfigError, DataError
from t3d.models import create_model
from t3d.recipes import device, train
from t3d.video.decode import open_video

Caught = SimpleNamespace


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
    return lambda caught: {getattr(holder.clip, name) for holder in (caught.loader.dataset, caught.hooks.card)}


def _pixels(name: str) -> Callable[[Caught], object]:
    holders = lambda caught: (caught.loader.dataset, caught.hooks.card, caught.objective)  # noqa: E731
    return lambda caught: {getattr(holder.pixels, name) for holder in holders(caught)}


def _augment(name: str) -> Callable[[Caught], object]:
    return lambda caught: getattr(caught.loader.dataset.augment, name)


def _objective(name: str) -> Callable[[Caught], object]:
    return lambda caught: getattr(caught.objective, name)


def _averaged(caught: Caught) -> float:
    """The average of a weight that is first one, then zero."""
    learner = caught.learner
    for value in (1.0, 0.0):
        nn.init.constant_(learner.network.classifier.bias, value)
        learner.average.update_parameters(learner.network)
    return float(learner.average.module.classifier.bias[0].detach())


def _frozen(caught: Caught) -> set[str]:
    return {
        name.split(".")[0] for name, weight in caught.learner.network.named_parameters() if not weight.requires_grad
    }


def _num_parameters(caught: Caught) -> int:
    return sum(weight.numel() for weight in caught.learner.network.parameters())


_TINY = sum(weight.numel() for weight in create_model("densenet3d_tiny", num_classes=2).parameters())
_ON = ("--select-on", "validation")

PROBES: dict[str, Probe | str] = {
    "data": Probe(flags=(), look=lambda c: len(c.loader.dataset.samples), value=8),
    "output": Probe(flags=(), look=lambda c: (c.hooks.folder / "config.json").exists(), value=True),
    "preset": Probe(
        flags=("--preset", "paper-finetune"), look=lambda c: c.hooks.card.training["preset"], value="paper-finetune"
    ),
    "split": "test_split_and_format_reach_the_reader",
    "format": "test_split_and_format_reach_the_reader",
    "init": "test_initial_weights_are_those_of_the_file",
    "resume": "test_run_killed_at_random_updates_ends_in_the_same_weights",
    "overwrite": "test_overwrite_removes_what_the_old_run_left",
    "arch": Probe(flags=("--arch", "densenet3d_tiny"), look=_num_parameters, value=_TINY),
    "dropout": Probe(
        flags=("--dropout", 0.3),
        look=lambda c: {module.p for module in c.learner.network.modules() if isinstance(module, nn.Dropout)},
        value={0.3},
    ),
    "ttl_compress": Probe(flags=("--ttl-compress",), look=lambda c: c.learner.network.spec.ttl_compress, value=True),
    "overrides": Probe(
        flags=("--overrides", "blocks=[1,1,1,1]", "ttl_width=4"),
        look=lambda c: (c.learner.network.spec.blocks, c.learner.network.spec.ttl_width, dict(c.hooks.card.overrides)),
        value=((1, 1, 1, 1), 4, {"keep_last_plane": True, "blocks": [1, 1, 1, 1], "ttl_width": 4}),
    ),
    "keep_last_plane": Probe(flags=(), look=lambda c: c.learner.network.spec.keep_last_plane, value=True),
    "freeze": Probe(flags=("--freeze", 1), look=_frozen, value={"stem"}),
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
    "layer_decay": Probe(
        flags=("--layer-decay", 0.5, "--lr", 1),
        look=_rates,
        value={5: 1.0, 4: 0.5, 3: 0.25, 2: 0.125, 1: 0.0625, 0: 0.03125},
    ),
    "clip_norm": Probe(flags=("--clip-norm", 2.5), look=_objective("clip_norm"), value=2.5),
    "label_smoothing": Probe(flags=("--label-smoothing", 0.1), look=_objective("label_smoothing"), value=0.1),
    "balance": "test_balance_acts_on_loss_or_sampler",
    "ema_decay": Probe(flags=("--ema-decay", 0.75), look=_averaged, value=0.75),
    "epochs": Probe(flags=("--epochs", 3, "--min-steps", 0), look=lambda c: c.num_steps, value=12),
    "min_steps": Probe(flags=("--epochs", 3, "--min-steps", 50), look=lambda c: c.num_steps, value=50),
    "max_steps": Probe(flags=("--epochs", 3, "--max-steps", 7), look=lambda c: c.num_steps, value=7),
    "schedule": Probe(
        flags=("--schedule", "cosine", "--warmup-steps", 0, "--max-steps", 10), look=_factor(5), value=0.5
    ),
    "warmup_steps": Probe(flags=("--schedule", "step", "--warmup-steps", 4), look=_factor(0), value=0.25),
    "step_epochs": Probe(
        flags=("--schedule", "step", "--warmup-steps", 0, "--step-epochs", 2),
        look=lambda c: [round(c.learner.schedule.lr_lambdas[0](step), 6) for step in (7, 8)],
        value=[1.0, 0.1],
    ),
    "decay_factor": Probe(
        flags=("--schedule", "plateau", "--decay-factor", 0.3, *_ON), look=lambda c: c.hooks.plateau[0], value=0.3
    ),
    "plateau_patience": Probe(
        flags=("--schedule", "plateau", "--plateau-patience", 4, *_ON), look=lambda c: c.hooks.plateau[1], value=4
    ),
    "early_stop_epochs": Probe(
        flags=("--early-stop-epochs", 3, *_ON), look=lambda c: c.hooks.early_stop_epochs, value=3
    ),
    "select_on": Probe(flags=("--select-on", "test"), look=lambda c: len(c.hooks.validate.videos.samples), value=5),
    "validation_fraction": Probe(
        flags=(*_ON, "--validation-fraction", 0.5),
        look=lambda c: (len(c.hooks.validate.videos.samples), len(c.loader.dataset.samples)),
        value=(4, 4),
    ),
    "allow_shared_groups": "test_shared_groups_are_allowed_only_with_a_caveat",
    "seed": Probe(flags=("--seed", 7), look=lambda c: {c.seed, c.loader.dataset.seed, c.sampler.seed}, value={7}),
    "workers": Probe(
        flags=("--workers", 1, *_ON), look=lambda c: (c.loader.num_workers, c.hooks.validate.num_workers), value=(1, 1)
    ),
    "devices": "test_machine_options_reach_fabric",
    "nodes": "test_machine_options_reach_fabric",
    "accelerator": "test_machine_options_reach_fabric",
    "precision": "test_machine_options_reach_fabric",
    "backend": Probe(
        flags=("--backend", "torchcodec"),
        look=lambda c: (c.loader.dataset.open_video.func, c.loader.dataset.open_video.keywords["backend"]),
        value=(open_video, "torchcodec"),
    ),
    "checkpoint_steps": Probe(flags=("--checkpoint-steps", 5), look=lambda c: c.hooks.checkpoint_steps, value=5),
    "bad_videos": Probe(
        flags=("--bad-videos", "skip", "--resize", 64, "--crop-size", 64),
        look=_objective("skip_bad_videos"),
        value=True,
    ),
}


class _FitError(Exception):
    """Ends a training where it would begin."""


@pytest.fixture
def catch(dataset: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Caught]:
    """What `fit` is called with, under these flags."""

    def run(*flags: object, data: Path = dataset) -> Caught:
        caught = Caught()

        def fit(learner: object, loader: object, sampler: object, **named: object) -> None:
            vars(caught).update(learner=learner, loader=loader, sampler=sampler, **named)
            raise _FitError

        monkeypatch.setattr(train, "fit", fit)
        given = [str(flag) for flag in (data, "--output", tmp_path / "run", *MICRO, *flags)]
        with pytest.raises(_FitError):
            train.run(_parse("train", COMMANDS["train"], given), command="t3d train")
        return caught

    return run


@pytest.mark.parametrize("name", [name for name, probe in PROBES.items() if isinstance(probe, Probe)])
def test_field_acts(name: str, catch: Callable[..., Caught]) -> None:
    probe = PROBES[name]
    assert isinstance(probe, Probe)
    assert probe.look(catch(*probe.flags)) == probe.value


def _leaves(kind: type) -> Iterator[str]:
    for field in fields(kind):
        inner = field.default_factory() if callable(field.default_factory) else None
        if is_dataclass(inner):
            yield from _leaves(type(inner))
        else:
            yield field.name


def test_every_field_has_an_assertion_where_it_acts() -> None:
    assert set(_leaves(TrainConfig)) == set(PROBES)
    here = Path(__file__).parent
    text = "".join(path.read_text() for path in [Path(__file__), here / "recipes" / "test_train.py"])
    elsewhere = [name for name in PROBES.values() if isinstance(name, str)]
    assert [name for name in elsewhere if f"def {name}(" not in text] == []


@pytest.mark.parametrize(("flag", "value"), [("--split", 9), ("--format", "kinetics")])
def test_split_and_format_reach_the_reader(flag: str, value: object, dataset: Path, tmp_path: Path) -> None:
    given = [str(dataset), "--output", str(tmp_path), *MICRO, flag, str(value)]
    with pytest.raises(DataError, match=r"no split 9|no folder in it holds videos"):
        train.run(_parse("train", COMMANDS["train"], given), command="t3d train")


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
    assert "--allow-shared-groups" in caught.hooks.card.training["caveats"][0]


def test_machine_options_reach_fabric(monkeypatch: pytest.MonkeyPatch, dataset: Path, tmp_path: Path) -> None:
    asked: dict[str, Any] = {}

    def refuse(**options: object) -> None:
        asked.update(options)
        raise ValueError("seen")

    monkeypatch.setattr(device, "Fabric", refuse)
    flags = ("--devices", "2", "--nodes", "3", "--precision", "bf16-mixed", "--accelerator", "cpu")
    given = [str(dataset), "--output", str(tmp_path), *MICRO, *flags]
    with pytest.raises(ConfigError, match="seen"):
        train.run(_parse("train", COMMANDS["train"], given), command="t3d train")
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
    ],
)
def test_value_out_of_range_is_named(flags: tuple[str, ...]) -> None:
    with pytest.raises(ConfigError, match=flags[0] if len(flags) != 4 else "--select-on"):
        _parse("train", COMMANDS["train"], ["data", *flags])


def test_other_commands_refuse_what_makes_no_sense() -> None:
    with pytest.raises(ConfigError, match="--top 0"):
        PredictConfig(weights=Path("run"), files=(Path("clip.mp4"),), top=0)
    with pytest.raises(ConfigError, match="--devices 0"):
        EvaluateConfig(weights=Path("run"), devices=0)


def test_weights_do_not_depend_on_what_was_drawn_before(catch: Callable[..., Caught]) -> None:
    first = catch("--seed", 3).learner.network.classifier.weight.clone()
    torch.rand(5)
    assert torch.equal(first, catch("--seed", 3).learner.network.classifier.weight)
