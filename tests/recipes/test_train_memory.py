from pathlib import Path

import pytest

from program import MICRO, Call
from t3d.recipes import device, learning


@pytest.mark.parametrize("flags", [(), ("--recompute",)])
def test_a_training_keeps_freed_memory_unless_memory_is_what_is_wanting(
    flags: tuple[str, ...], dataset: Path, t3d: Call, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: list[str] = []
    monkeypatch.setattr(learning, "keep_freed_memory", lambda: calls.append("train"))
    ran = t3d("train", dataset, "--output", tmp_path / "run", *MICRO, "--max-steps", 1, *flags)
    assert ran.code == 0
    assert calls == ([] if flags else ["train"])


def test_scoring_by_pytorch_keeps_it(trained: Path, dataset: Path, t3d: Call, monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[str] = []
    monkeypatch.setattr(device, "keep_freed_memory", lambda: calls.append("score"))
    ran = t3d("predict", trained, dataset.parent / "clips" / "test0.mp4", "--accelerator", "cpu")
    assert ran.code == 0
    assert calls == ["score"]
