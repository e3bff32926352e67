import json
from dataclasses import replace

import pytest

from t3d.bench.rounds import Measured
from t3d.bench.tables import Row, Table, Target, best_share, times_faster, times_the_memory, times_the_time

SLOW = Row(measured=Measured(name="slow", seconds=(4.0, 8.0, 6.0), peak_bytes=200), flops=60, limit=20.0)
FAST = Row(measured=Measured(name="fast", seconds=(1.0, 4.0, 2.0), peak_bytes=50), flops=30, limit=20.0)
FAILED = Row(measured=Measured(name="failed", error="not installed"), flops=30, limit=20.0)
ROWS = [SLOW, FAST, FAILED]


def test_rows_are_set_against_the_first_round_by_round() -> None:
    figures = Table(title="all", rows=ROWS).figures()
    slow, fast, failed = figures["rows"]
    assert fast["time"] == {"median": 2.0, "from": 1.0, "to": 4.0}
    assert fast["ratio"] == {"median": 3.0, "from": 2.0, "to": 4.0}  # of 4, 2 and 3; the medians alone would say 3, too
    assert slow["ratio"] == {"median": 1.0, "from": 1.0, "to": 1.0}
    assert fast["memory_ratio"] == 0.25
    assert fast["share_of_limit"] == 30 / 2.0 / 20
    assert (failed["time"], failed["ratio"], failed["peak_bytes"], failed["share_of_limit"]) == (None,) * 4
    assert failed["error"] == "not installed"
    assert json.loads(json.dumps(figures)) == figures


def test_times_the_time_is_the_other_way_round() -> None:
    _, fast, _ = Table(title="all", rows=ROWS, ratio="x the time").figures()["rows"]
    assert fast["ratio"] == {"median": pytest.approx(1 / 3), "from": 0.25, "to": 0.5}


def test_memory_may_say_nothing() -> None:
    slow, *_ = Table(title="all", rows=ROWS, memory=False).figures()["rows"]
    assert slow["peak_bytes"] is slow["memory_ratio"] is None


def test_a_base_that_failed_leaves_the_others_their_seconds() -> None:
    _, fast = Table(title="all", rows=[FAILED, FAST]).figures()["rows"]
    assert (fast["time"]["median"], fast["ratio"], fast["peak_bytes"], fast["memory_ratio"]) == (2.0, None, 50, None)


def test_the_best_of_the_named_arms_counts() -> None:
    assert times_faster(ROWS, ["fast", "failed"]) == 3.0
    assert times_faster(ROWS, ["slow", "fast"]) == 3.0
    assert times_faster(ROWS, ["failed", "absent"]) is None
    assert times_the_time(ROWS, "fast") == pytest.approx(1 / 3)
    assert times_the_memory(ROWS, "fast") == 0.25
    assert times_the_memory(ROWS, "failed") is None
    assert best_share(ROWS, ["slow", "fast", "failed"]) == 0.75  # 30 / 2 / 20; the slow one has 60 / 6 / 20
    assert best_share([replace(FAST, limit=None)], ["fast"]) is None


@pytest.mark.parametrize(
    ("unit", "bound", "reached", "met"),
    [
        ("x faster", 2.0, 2.0, True),
        ("x faster", 2.0, 1.99, False),
        ("of the limit", 0.85, 0.9, True),
        ("x the time", 1.05, 1.05, True),
        ("x the time", 1.05, 1.06, False),
        ("x the memory", 0.5, 0.4, True),
        ("s", 0.3, 0.31, False),
        ("relative difference", 1e-4, 1e-5, True),
        ("relative difference", 1e-4, float("nan"), False),
        ("s", 0.3, None, False),
        ("x faster", 2.0, None, False),
    ],
)
def test_targets_are_met_on_their_side_of_the_bound(unit: str, bound: float, reached: float | None, met: bool) -> None:
    assert Target(what="it", unit=unit, bound=bound, reached=reached).met is met  # type: ignore[arg-type]
