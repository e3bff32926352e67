"""Write and read the predictions of an evaluation, one row per video, without loss."""

import csv
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from t3d.errors import CheckpointError
from t3d.evaluation.metrics import VideoResult
from t3d.files import complete, write_csv

_SCORE = "score:"
_NAMES = ("predictions.csv", "predictions.parquet")


def write_predictions(
    folder: Path, results: Sequence[VideoResult], labels: Sequence[str], *, kind: str = "csv"
) -> Path:
    """Write one row per video: label, prediction, whether they agree, error, and the score of every class.

    An older file of the other kind is removed.

    Args:
        folder: Folder of the file.
        results: One row per video.
        labels: Class names.
        kind: `csv` or `parquet`.
    """
    path = folder / f"predictions.{kind}"
    rows = [prediction_row(result, labels) for result in results]
    if kind == "parquet":
        with complete(path) as unfinished:
            pq.write_table(pa.Table.from_pylist(rows), unfinished)
    else:
        write_csv(path, rows)
    for stale in {*_NAMES} - {path.name}:
        (folder / stale).unlink(missing_ok=True)
    return path


def prediction_row(result: VideoResult, labels: Sequence[str]) -> dict[str, Any]:
    """The row of one video; scores keep all digits, so that they can be compared exactly."""
    row: dict[str, Any] = {
        "video": result.video,
        "label": labels[result.label] if result.label >= 0 else None,
        "predicted": labels[result.ranking[0]] if result.scores else None,
        "correct": result.within(1),
        "num_views": result.num_views,
        "views_correct": result.views_correct,
        "tag": result.tag,
        "error": result.error,
    }
    scores = result.scores or (None,) * len(labels)
    return row | {_SCORE + label: score for label, score in zip(labels, scores, strict=True)}


def read_predictions(path: Path) -> tuple[list[VideoResult], tuple[str, ...]]:
    """Read the rows and class names, exactly as written.

    Args:
        path: A `predictions.csv` or `predictions.parquet`, or its folder.

    Raises:
        CheckpointError: There is no such file, or it is malformed.
    """
    file = next((path / name for name in _NAMES if (path / name).exists()), path / _NAMES[0]) if path.is_dir() else path
    try:
        rows = pq.read_table(file).to_pylist() if file.suffix == ".parquet" else _csv_rows(file)
        labels = tuple(name.removeprefix(_SCORE) for name in rows[0] if name.startswith(_SCORE))
        return [_result(row, labels) for row in rows], labels
    except FileNotFoundError:
        raise CheckpointError(f"{file}: no predictions; run t3d evaluate first") from None
    except (ValueError, KeyError, IndexError, TypeError, csv.Error, pa.ArrowException):
        raise CheckpointError(f"{file}: not the predictions of an evaluation; run t3d evaluate again") from None


def _csv_rows(file: Path) -> list[dict[str, Any]]:
    with file.open(newline="", encoding="utf-8") as lines:
        return list(csv.DictReader(lines, strict=True))


def _result(row: Mapping[str, Any], labels: Sequence[str]) -> VideoResult:
    scores = [row[_SCORE + label] for label in labels]
    decoded = scores[0] not in ("", None)
    return VideoResult(
        video=row["video"],
        label=labels.index(row["label"]) if row["label"] else -1,
        scores=tuple(map(float, scores)) if decoded else (),
        num_views=int(row["num_views"]),
        views_correct=int(row["views_correct"]),
        tag=row["tag"],
        error=row["error"],
    )
