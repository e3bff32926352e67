"""The videos that some runs name correctly and others do not."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from t3d.files import write_csv, write_text
from t3d.recipes.evaluated import Evaluated

_COLUMNS = ("video", "label", "num_right")


def flips(runs: Sequence[Evaluated]) -> Iterator[dict[str, Any]]:
    """A row for each video of a test set that some runs name correctly and others do not."""
    for video, result in runs[0].results.items():
        right = {run.name: run.results[video].within(1) for run in runs}
        if len(set(right.values())) == 2:
            row = {"video": video, "label": runs[0].labels[result.label], "num_right": sum(right.values())}
            yield row | {key: value for run in runs for key, value in _said(run, video).items()}


def write_flips(path: Path, rows: Sequence[dict[str, Any]]) -> None:
    """Write them; the cells of runs that were not tested on a video stay empty."""
    if not rows:
        write_text(path, ",".join(_COLUMNS) + "\n")
        return
    columns = dict.fromkeys(name for row in rows for name in row)
    write_csv(path, [columns | row for row in rows])


def _said(run: Evaluated, video: str) -> dict[str, Any]:
    result = run.results[video]
    predicted = run.labels[result.ranking[0]] if result.scores else None  # not decoded
    return {f"predicted:{run.name}": predicted, f"score:{run.name}": max(result.scores, default=None)}
