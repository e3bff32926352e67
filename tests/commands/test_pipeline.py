"""Pipelines of the paper's tables: which runs they make, from which weights, and that they go on where they stopped."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from program import Call
from t3d import cli
from t3d.cli import COMMANDS, _parse
from t3d.commands.pipeline import _PIPELINES
from t3d.config import PipelineConfig, TrainConfig, TransferConfig
from t3d.config.presets import preset, transfer_preset
from t3d.errors import ConfigError

TINY = (
    *("--num-frames", "4", "--frame-stride", "1", "--resize", "32", "--crop-size", "32", "--keep-last-plane"),
    *("--workers", "0", "--accelerator", "cpu", "--teacher", "colour_statistics", "--updates", "2"),
)


def _config(*flags: object) -> PipelineConfig:
    config = _parse("pipeline", COMMANDS["pipeline"], [str(flag) for flag in flags])
    assert isinstance(config, PipelineConfig)
    return config


@pytest.fixture(scope="module")
def done(dataset: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The finished pipelines `scratch` and `transfer`; tests must not change them."""
    folder = tmp_path_factory.mktemp("pipelines")
    for name in ("scratch", "transfer"):
        with pytest.raises(SystemExit) as ended:
            cli.main(["pipeline", name, str(dataset), *TINY, "--output", str(folder)])
        assert ended.value.code == 0
    return folder


@pytest.fixture
def copied(done: Path, tmp_path: Path) -> Path:
    """The same, to be changed; its runs name each other where they lie now."""
    folder = shutil.copytree(done, tmp_path / "pipeline")
    for path in folder.rglob("config.json"):
        path.write_text(path.read_text().replace(str(done), str(folder)))
    return folder


def _lineage(folder: Path) -> list[tuple[str, str | None]]:
    """Folder and inflation of every ancestor, oldest first, as a report says."""
    metrics = json.loads((folder / "metrics.json").read_text())
    return [(Path(ancestor["file"]).parent.name, ancestor["inflated"]) for ancestor in metrics["training"]["lineage"]]


@pytest.mark.parametrize(
    ("pipeline", "last", "ancestors"),
    [("scratch", "scratch", []), ("transfer", "finetuned", [("transfer", None)])],
)
def test_pipeline_ends_in_a_tested_network_with_its_ancestors(
    pipeline: str, last: str, ancestors: list[tuple[str, str | None]], done: Path
) -> None:
    assert _lineage(done / pipeline / last) == ancestors
    steps = sorted(path.parent.name for path in (done / pipeline).glob("*/training.json"))
    assert steps == sorted({name for name, _ in ancestors} | {last})


def test_inflation_starts_from_the_twin(dataset: Path, tmp_path: Path, t3d: Call) -> None:
    done = t3d("pipeline", "inflation", dataset, *TINY, "--output", tmp_path)
    assert done.code == 0, done.err
    assert "video top-1" in done.out
    assert _lineage(tmp_path / "inflation" / "finetuned") == [("twin", "centre")]


def test_ft_transfer_learns_half_of_each_class_of_the_large_set_in_between(
    dataset: Path, tmp_path: Path, t3d: Call
) -> None:
    done = t3d("pipeline", "ft-transfer", dataset, *TINY, "--large", dataset, "--output", tmp_path / "pipeline")
    assert done.code == 0, done.err
    assert _lineage(tmp_path / "pipeline" / "ft-transfer" / "finetuned") == [("transfer", None), ("large", None)]
    listed = (tmp_path / "pipeline" / "ft-transfer" / "large" / "trained_on.csv").read_text().splitlines()[1:]
    assert sorted(line.split(",")[1] for line in listed) == ["a", "a", "b", "b"]  # of four each


def test_second_call_does_only_what_is_missing(copied: Path, dataset: Path, tmp_path: Path, t3d: Call) -> None:
    pipeline = ("pipeline", "transfer", dataset, *TINY, "--output", copied)
    before = (tmp_path / "pipeline" / "transfer" / "transfer" / "weights.safetensors").stat().st_mtime_ns
    (tmp_path / "pipeline" / "transfer" / "finetuned" / "training.json").unlink()  # as if it had been interrupted
    again = t3d(*pipeline)
    assert again.code == 0, again.err
    assert "step 1 of 2" in again.err
    assert again.err.count("done before") == 1
    assert (tmp_path / "pipeline" / "transfer" / "transfer" / "weights.safetensors").stat().st_mtime_ns == before
    assert (tmp_path / "pipeline" / "transfer" / "finetuned" / "training.json").exists()


def test_a_step_done_before_there_was_a_flag_had_its_default(copied: Path, dataset: Path, t3d: Call) -> None:
    pipeline = ("pipeline", "scratch", dataset, *TINY, "--output", copied)
    path = copied / "scratch" / "scratch" / "config.json"
    config = json.loads(path.read_text())
    del config["train"]["segments"], config["train"]["model"]["head"], config["train"]["pixels"]["flow_bound"]
    path.write_text(json.dumps(config))
    again = t3d(*pipeline)
    assert (again.code, again.err.count("done before")) == (0, 1), again.err
    other = t3d(*pipeline, "--flow-bound", 0.5)
    assert (other.code, "was started with --flow-bound 0.08, now it is 0.5" in other.err) == (2, True), other.err


def test_steps_done_with_other_flags_are_refused(done: Path, dataset: Path, t3d: Call) -> None:
    other = t3d("pipeline", "scratch", dataset, *TINY, "--output", done, "--seed", 1)
    assert other.code == 2
    assert "was started with --seed 0, now it is 1" in other.err


def test_transfer_learns_from_the_unlabelled_videos_where_some_are_named(dataset: Path, tmp_path: Path) -> None:
    own, named = (
        _PIPELINES["transfer"](_config("transfer", dataset, "--split", 2, *more))[0].config
        for more in ((), ("--unlabelled", tmp_path))
    )
    assert (own.data, own.split) == (dataset, 2)  # its training videos only
    assert (named.data, named.split) == (tmp_path, None)


def test_options_of_a_pipeline_reach_all_its_steps(dataset: Path) -> None:
    flags = (
        "--arch",
        "densenet3d_tiny",
        "--num-frames",
        12,
        "--crop-size",
        48,
        "--seed",
        3,
        "--hue",
        0.1,
        "--updates",
        5,
    )
    for step in _PIPELINES["transfer"](_config("transfer", dataset, *flags)):
        settings: Any = step.config
        seen = (settings.model.arch, settings.clip.num_frames, settings.pixels.crop_size, settings.run.seed)
        assert seen == ("densenet3d_tiny", 12, 48, 3)
        assert (settings.augment.hue, settings.schedule.min_steps, settings.schedule.max_steps) == (0.1, 5, 5)


def test_steps_follow_the_presets_of_the_paper(dataset: Path) -> None:
    pipeline = _config("ft-transfer", dataset, "--preset", "paper", "--large", dataset)
    first, half, last = (step.config for step in _PIPELINES["ft-transfer"](pipeline))
    assert isinstance(first, TransferConfig)
    assert isinstance(half, TrainConfig)
    assert isinstance(last, TrainConfig)
    assert first.optimizer == transfer_preset("paper-transfer").optimizer
    assert first.teacher.live
    assert half.labels.train_fraction == 0.5
    assert last.schedule == preset("paper-finetune").schedule
    assert last.start.layer_decay == preset("paper-finetune").start.layer_decay


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        (("ft-transfer",), "--large"),
        (("transfer", "--large", "."), "--large"),
        (("inflation", "--unlabelled", "."), "the pipeline inflation uses no unlabelled videos"),
        (("transfer", "--updates", 0), "--updates 0 must be at least 1"),
        (("transfer", "--preset", "fast"), "unknown preset 'fast'; choose from quick, paper"),
    ],
)
def test_pipeline_refuses_what_makes_no_sense(flags: tuple[object, ...], said: str, dataset: Path) -> None:
    with pytest.raises(ConfigError, match=said):
        _config(flags[0], dataset, *flags[1:])


def test_evaluation_says_that_an_ancestor_has_seen_test_videos(dataset: Path, tmp_path: Path, t3d: Call) -> None:
    pool = dataset.parent / "clips"  # training and test videos alike
    done = t3d("pipeline", "transfer", dataset, *TINY, "--unlabelled", pool, "--output", tmp_path / "pipeline")
    assert done.code == 0, done.err
    metrics = json.loads((tmp_path / "pipeline" / "transfer" / "finetuned" / "metrics.json").read_text())
    seen = [line for line in metrics["warnings"] if "from which these weights come" in line]
    assert len(seen) == 1
    assert str(tmp_path / "pipeline" / "transfer" / "transfer") in seen[0]
    assert "of 5 videos were trained on" in seen[0]
