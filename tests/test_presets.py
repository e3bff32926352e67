from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from program import Call
from t3d.errors import ConfigError
from t3d.presets import PRESETS, preset

SMALL = (
    *("--arch", "t3d_tiny", "--num-frames", 4, "--frame-stride", 1, "--resize", 32, "--crop-size", 32),
    *("--keep-last-plane", "--batch-size", 2, "--workers", 0, "--accelerator", "cpu"),
)


@pytest.mark.parametrize("name", PRESETS)
def test_preset_trains_three_steps_and_resumes(
    name: str, dataset: Path, t3d: Call, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    flags = ("train", dataset, "--preset", name, *SMALL, "--max-steps", 3, "--checkpoint-steps", 1, "--output")
    whole = t3d(*flags, tmp_path / "whole")
    assert (whole.code, "3 updates" in whole.out) == (0, True), whole.err

    from t3d.engine.hooks import RunHooks

    on_step = RunHooks.on_step

    def die_after_two(self: RunHooks, learner: object) -> None:
        on_step(self, learner)  # type: ignore[arg-type]
        if learner.progress.step == 2:  # type: ignore[attr-defined]
            raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(RunHooks, "on_step", die_after_two)
        assert t3d(*flags, tmp_path / "parts").code == 130
    assert t3d(*flags, tmp_path / "parts", "--resume").code == 0
    ours, theirs = (load_file(tmp_path / part / "last.safetensors") for part in ("parts", "whole"))
    assert all(torch.equal(ours[key], theirs[key]) for key in theirs)


@pytest.mark.parametrize("name", PRESETS)
def test_preset_says_how_it_is_run_and_what_to_expect(name: str) -> None:
    entry = PRESETS[name]
    assert entry.config.preset == name == preset(name).preset
    assert entry.command.startswith("t3d train ")
    assert name == "quick" or f"--preset {name}" in entry.command
    assert entry.time
    assert entry.expected


def test_unknown_preset_is_named_with_the_known_ones() -> None:
    with pytest.raises(ConfigError, match="'quickest'; choose from quick, paper-kinetics"):
        preset("quickest")
