import shlex
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from program import Call
from t3d.cli import COMMANDS, _parse
from t3d.config.presets import PRESETS, preset, preset_names, transfer_preset
from t3d.errors import ConfigError

SMALL = (
    *("--arch", "t3d_tiny", "--num-frames", 4, "--frame-stride", 1, "--resize", 32, "--crop-size", 32),
    *("--keep-last-plane", "--batch-size", 2, "--workers", 0, "--accelerator", "cpu"),
)


def _assert_resumes(t3d: Call, flags: tuple[object, ...], folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Three updates, at once or interrupted after the second, end in the same weights."""
    flags = (*flags, "--max-steps", 3, "--checkpoint-steps", 1, "--output")
    whole = t3d(*flags, folder / "whole")
    assert (whole.code, "3 updates" in whole.out) == (0, True), whole.err

    from t3d.training.callbacks import RunCallbacks

    on_step = RunCallbacks.on_step

    def die_after_two(self: RunCallbacks, learner: object) -> None:
        on_step(self, learner)  # type: ignore[arg-type]
        if learner.progress.step == 2:  # type: ignore[attr-defined]
            raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(RunCallbacks, "on_step", die_after_two)
        assert t3d(*flags, folder / "parts").code == 130
    resumed = t3d(*flags, folder / "parts", "--resume")
    assert resumed.code == 0, resumed.err
    ours, theirs = (load_file(folder / part / "last.safetensors") for part in ("parts", "whole"))
    assert all(torch.equal(ours[key], theirs[key]) for key in theirs)


@pytest.mark.parametrize("name", ["quick", "paper-kinetics", "paper-finetune"])
def test_preset_trains_three_steps_and_resumes(
    name: str, dataset: Path, t3d: Call, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _assert_resumes(t3d, ("train", dataset, "--preset", name, *SMALL), tmp_path, monkeypatch)


def test_training_from_scratch_on_ucf101_differs_by_its_clips_only() -> None:
    paper, scratch = preset("paper-kinetics"), preset("paper-ucf101-scratch")
    assert replace(paper, preset="paper-ucf101-scratch", clip=scratch.clip) == scratch


@pytest.mark.parametrize("name", preset_names("transfer"))
def test_transfer_preset_takes_three_steps_and_resumes(
    name: str, dataset: Path, t3d: Call, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("T3D_CACHE", str(tmp_path / "cache"))
    teacher = ("--teacher", "colour_statistics", "--teacher-size", 32)
    _assert_resumes(t3d, ("transfer", dataset, "--preset", name, *SMALL, *teacher), tmp_path, monkeypatch)
    matchers = [load_file(tmp_path / part / "matcher.safetensors") for part in ("parts", "whole")]
    assert all(torch.equal(matchers[0][key], matchers[1][key]) for key in matchers[1])


@pytest.mark.parametrize(("verb", "name"), PRESETS)
def test_preset_says_how_it_is_run_and_what_to_expect(verb: str, name: str) -> None:
    entry = PRESETS[verb, name]
    assert entry.config.preset == name
    assert entry.command.startswith(f"t3d {verb} ")
    assert name == "quick" or f"--preset {name}" in entry.command
    assert entry.time
    assert entry.expected
    _parse(verb, COMMANDS[verb], shlex.split(entry.command)[2:])  # the command is one that is understood


def test_the_papers_transfer_is_what_the_paper_says() -> None:
    """Section 3.2 and 4: 32 frames, random crops of 224, batch 32, rate 0.1 divided by 10 every 30 of 150 epochs."""
    config = transfer_preset("paper-transfer")
    assert (config.clip.num_frames, config.pixels.crop_size, config.teacher.pictures) == (32, 224, 32)
    assert (config.optimizer.batch_size, config.optimizer.lr, config.optimizer.momentum) == (32, 0.1, 0.9)
    assert (config.optimizer.nesterov, config.optimizer.weight_decay) == (True, 1e-4)
    schedule = config.schedule
    assert (schedule.epochs, schedule.schedule, schedule.step_epochs, schedule.decay_factor) == (150, "step", 30, 0.1)
    assert (config.teacher.live, config.pairs.negatives, config.augment.crop) == (True, "independent", "random")
    assert (config.pairs.matcher_norm, config.pairs.contrastive, config.pairs.hard_negatives) == (False, 0.0, False)


def test_unknown_presets_are_named_with_the_known_ones() -> None:
    with pytest.raises(ConfigError, match=r"'quickest' .*'quick'.*; choose from quick, paper-kinetics"):
        preset("quickest")
    with pytest.raises(ConfigError, match=r"'paper-kinetics'.*; choose from quick, paper-transfer"):
        transfer_preset("paper-kinetics")
