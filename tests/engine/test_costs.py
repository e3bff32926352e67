import os
import signal

import numpy as np
import pytest

from t3d.engine import costs
from t3d.engine.costs import in_fresh_process, measure_forward, median_seconds, peak_bytes


def _growth(num_bytes: int) -> tuple[int, int]:
    before = peak_bytes()
    np.ones(num_bytes, dtype=np.uint8)
    return os.getpid(), peak_bytes() - before


def _die(*_: object) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def test_peak_is_that_of_a_fresh_process() -> None:
    """What this process held and freed is not counted there."""
    _growth(300_000_000)
    pid, growth = in_fresh_process(_growth, 100_000_000)
    assert pid != os.getpid()
    assert 95_000_000 < growth < 130_000_000  # of pages, which the system counts in lots


def test_a_killed_process_has_no_cost(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(costs, "_measure", _die)
    assert measure_forward("t3d_tiny", (3, 16, 64, 64), {}) is None


def test_one_step_more_is_made_than_is_timed() -> None:
    calls: list[int] = []
    assert median_seconds(lambda: calls.append(1), repeats=3) >= 0
    assert len(calls) == 4
