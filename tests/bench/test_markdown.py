from dataclasses import asdict

from arms import LIMITS
from t3d.bench.markdown import markdown
from t3d.bench.rounds import Measured
from t3d.bench.tables import Row, Table, Target

MACHINE = {"processor": "abacus", "threads": 2, "memory_bytes": 16_000_000_000, "load_before": None}


def test_the_document_reads_as_it_was_found() -> None:
    slow = Row(measured=Measured(name="slow", seconds=(2.0, 4.0), peak_bytes=2_000_000), flops=3_000_000_000, limit=2e9)
    fast = Row(measured=Measured(name="fast", seconds=(0.05, 0.08), peak_bytes=1_000_000))
    failed = Row(measured=Measured(name="failed", error="not installed"))
    targets = [
        Target(what="fast", unit="x faster", bound=50.0, reached=45.21),
        Target(what="same", unit="relative difference", bound=1e-4, reached=2e-5),
        Target(what="failed", unit="of the limit", bound=0.85, reached=None),
    ]
    table = Table(title="Steps", rows=[slow, fast, failed], targets=targets, notes=["A note."])
    document = {"kind": "train", "command": "t3d bench train", "machine": MACHINE, "limits": asdict(LIMITS)}
    assert (
        markdown(document | {"tables": [table.figures()]})
        == """\
# t3d bench train

`t3d bench train`

processor abacus, threads 2, memory 16 GB

Best rates measured here: 1 GFLOP/s float32 product, 4 GFLOP/s bf16 product, 2 GFLOP/s float32 convolution, \
3 GFLOP/s bf16 convolution.

## Steps

| arm | median | from to | times faster | from to | peak memory | times the memory | GFLOP | of the limit |
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
"""
    )


def test_columns_that_say_nothing_are_left_out() -> None:
    rows = [Row(measured=Measured(name="one", seconds=(1.0,), peak_bytes=1))]
    table = Table(title="Steps", rows=rows, ratio="x the time", memory=False)
    text = markdown({"kind": "x", "command": "x", "machine": {}, "limits": None, "tables": [table.figures()]})
    assert "| arm | median | from to | times the time | from to |\n" in text
    assert "Best rates" not in text
