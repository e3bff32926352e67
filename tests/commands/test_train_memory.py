from pathlib import Path

import pytest

from program import MICRO, Call
from t3d.commands import _devices as device
from t3d.training import learner


@pytest.fixture
def told(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What the C library was told to do with freed memory."""
    calls: list[str] = []
    monkeypatch.setattr(learner, "keep_freed_memory", lambda: calls.append("train: keep"))
    monkeypatch.setattr(learner, "return_freed_memory", lambda: calls.append("train: return"))
    monkeypatch.setattr(device, "keep_freed_memory", lambda: calls.append("score: keep"))
    return calls


@pytest.mark.parametrize(("flags", "expected"), [((), "train: keep"), (("--recompute",), "train: return")])
def test_a_training_keeps_freed_memory_unless_memory_is_wanting(
    flags: tuple[str, ...], expected: str, dataset: Path, t3d: Call, tmp_path: Path, told: list[str]
) -> None:
    ran = t3d("train", dataset, "--output", tmp_path / "run", *MICRO, "--max-steps", 1, *flags)
    assert ran.code == 0
    assert told == [expected]


def test_scoring_by_pytorch_keeps_it(trained: Path, dataset: Path, t3d: Call, told: list[str]) -> None:
    ran = t3d("predict", trained, dataset.parent / "clips" / "test0.mp4", "--accelerator", "cpu")
    assert ran.code == 0
    assert told == ["score: keep"]
