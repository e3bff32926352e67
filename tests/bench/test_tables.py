import json
from dataclasses import asdict, replace

import pytest

from benchmarks.tables import best_share, times_faster, times_the_memory, times_the_time, values_table
from instant import LIMITS
from t3d.bench.rounds import Measured
from t3d.bench.tables import Row, Table, Target, markdown

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


def test_the_best_of_the_named_variants_counts() -> None:
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


def test_markdown_is_made_of_the_record() -> None:
    slow = Row(measured=Measured(name="slow", seconds=(2.0, 4.0), peak_bytes=2_000_000), flops=3_000_000_000, limit=2e9)
    fast = Row(measured=Measured(name="fast", seconds=(0.05, 0.08), peak_bytes=1_000_000))
    failed = Row(measured=Measured(name="failed", error="not installed"))
    targets = [
        Target(what="fast", unit="x faster", bound=50.0, reached=45.21),
        Target(what="same", unit="relative difference", bound=1e-4, reached=2e-5),
        Target(what="failed", unit="of the limit", bound=0.85, reached=None),
    ]
    timed = Table(title="Steps", rows=[slow, fast, failed], targets=targets, notes=["A note."])
    values = values_table(
        "Errors", {"crf": "", "error": ".2f"}, [{"crf": 6, "error": 0.5}, {"crf": 18, "error": "none"}]
    )
    tables = [timed.figures(), values]
    machine = {"processor": "abacus", "threads": 2, "memory_bytes": 16_000_000_000, "load_before": None}
    document = {"command": "t3d bench train", "machine": machine, "limits": asdict(LIMITS), "tables": tables}
    assert (
        markdown(document, title="Speed")
        == """\
# Speed

`t3d bench train`

processor abacus, threads 2, memory 16 GB

Best rates measured here: 1 GFLOP/s float32 product, 4 GFLOP/s bf16 product, 2 GFLOP/s float32 convolution, \
3 GFLOP/s bf16 convolution.

## Steps

| variant | median | from to | times faster | from to | peak memory | times the memory | GFLOP | of the limit |
| --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: |
| slow | 3.00 s | 2.00 s to 4.00 s | 1.00 | 1.00 to 1.00 | 2 MB | 1.00 | 3.0 | 50% |
| fast | 65.0 ms | 50.0 ms to 80.0 ms | 45.00 | 40.00 to 50.00 | 1 MB | 0.50 |  |  |
| failed | not installed |  |  |  |  |  |  |  |

| target | wanted | reached |  |
| --- | ---: | ---: | ---: |
| fast | >= 50 x faster | 45.2 x faster | missed |
| same | <= 1.0e-04 relative difference | 2.0e-05 relative difference | met |
| failed | >= 85% of the limit | not measured | missed |

A note.

## Errors

| crf | error |
| --- | ---: |
| 6 | 0.50 |
| 18 | none |
"""
    )


def test_columns_that_are_empty_are_left_out() -> None:
    rows = [Row(measured=Measured(name="one", seconds=(1.0,), peak_bytes=1))]
    table = Table(title="Steps", rows=rows, ratio="x the time", memory=False)
    text = markdown({"command": "x", "machine": {}, "limits": None, "tables": [table.figures()]}, title="x")
    assert "| variant | median | from to | times the time | from to |\n" in text
    assert "Best rates" not in text
