from pathlib import Path
from typing import Any

import pytest

from t3d.training import tracking as t3d_tensorboard
from t3d.training.loop import Progress
from t3d.training.tracking import tensorboard_reporters


def _row(step: int, loss: float) -> dict[str, Any]:
    return {"epoch": step // 10, "step": step, "seconds": 1.5, "lr": 0.1, "train_loss": loss, "validation_top1": 0.5}


def test_curves_are_written_and_resumption_replaces_what_comes_later(tmp_path: Path) -> None:
    pytest.importorskip("tensorboard", reason="TensorBoard is not installed")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    for first_step, steps in ((0, [10, 20, 30]), (15, [20])):
        (reporter,) = tensorboard_reporters(tmp_path, first_step=first_step)
        for step in steps:
            reporter.step(Progress(step=step))
            reporter.epoch(_row(step, loss=step / 4 + first_step))
        reporter.writer.close()
    events = EventAccumulator(str(tmp_path / "tensorboard"))
    events.Reload()
    assert sorted(events.Tags()["scalars"]) == ["lr", "seconds", "train/loss", "validation/top1"]
    assert [(point.step, point.value) for point in events.Scalars("train/loss")] == [(10, 2.5), (20, 20.0)]


def test_without_tensorboard_there_is_no_writer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(t3d_tensorboard, "find_spec", lambda name: None)
    assert tensorboard_reporters(tmp_path, first_step=0) == []
    assert list(tmp_path.iterdir()) == []
