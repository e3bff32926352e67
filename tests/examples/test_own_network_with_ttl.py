import runpy
from pathlib import Path

import pytest

SCRIPT = Path(__file__).resolve().parents[2] / "examples" / "own_network_with_ttl.py"


def test_example_keeps_the_size_and_makes_an_update(capsys: pytest.CaptureFixture[str]) -> None:
    runpy.run_path(str(SCRIPT))["main"]()
    size, update, *weights = capsys.readouterr().out.splitlines()
    assert size == "the stage gives (2, 24, 4, 8, 8) before, (2, 24, 4, 8, 8) after"
    assert update.startswith("one update, loss ")
    assert weights == [
        "  branches.0.conv.weight (4, 12, 1, 1, 1)",
        "  branches.1.conv.weight (4, 12, 3, 3, 3)",
        "  branches.2.conv.weight (4, 12, 4, 3, 3)",
    ]
