"""What int8 costs in accuracy: a run exported in int8 and scored beside PyTorch in float32, on its test videos.

The run of docs/performance.md is made by

    t3d train temporal-shapes --arch t3d_121 --batch-size 8 --max-steps 400 --precision bf16-mixed --output RUN
"""

import json
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks.options import Options
from benchmarks.tables import values_table
from t3d.bench.experiments import Findings
from t3d.bench.rounds import LOGGER
from t3d.errors import ConfigError
from t3d.evaluation.metrics import VideoResult
from t3d.evaluation.results import read_predictions

_COLUMNS = {"engine": "", "precision": "", "videos": "", "top-1": ".2%", "predicted otherwise": ""}


def run(options: Options) -> Findings:
    """Export, score both, and compare video by video."""
    (trained,) = options.data
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        exported = folder / "weights-int8.xml"
        commands = [
            ("export", trained, "--precision", "int8", "--output", exported),
            ("evaluate", trained, "--output", folder / "float32"),
            ("evaluate", exported, "--output", folder / "int8"),
        ]
        for command in commands:
            _t3d(list(map(str, command)))
        scored = [folder / "float32", folder / "int8"]
        metrics = [json.loads((path / "metrics.json").read_text()) for path in scored]
        predictions = [read_predictions(path)[0] for path in scored]
    rows = [_row(values, predictions[0], own) for values, own in zip(metrics, predictions, strict=True)]
    note = f"Trained by `{metrics[0]['training']['command']}`."
    return Findings(tables=[values_table("Test videos, a trained network", _COLUMNS, rows, notes=[note])])


def _row(metrics: dict[str, Any], base: Sequence[VideoResult], own: Sequence[VideoResult]) -> dict[str, Any]:
    pairs = zip(base, own, strict=True)
    return {
        "engine": metrics["protocol"]["engine"],
        "precision": metrics["protocol"]["precision"],
        "videos": len(own),
        "top-1": metrics["video"]["top1"],
        "predicted otherwise": sum(first.ranking[:1] != other.ranking[:1] for first, other in pairs),
    }


def _t3d(arguments: Sequence[str]) -> None:
    LOGGER.info("t3d %s", " ".join(arguments))
    done = subprocess.run([sys.executable, "-m", "t3d", *arguments], stdout=subprocess.DEVNULL, check=False)
    if done.returncode not in (0, 1):  # 1: some videos cannot be decoded
        raise ConfigError(f"t3d {arguments[0]} ended with code {done.returncode}; see above")
