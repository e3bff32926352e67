"""Read evaluated runs, and recognise repetitions of one experiment."""

import json
import shlex
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from t3d.errors import CheckpointError
from t3d.evaluation.metrics import VideoResult
from t3d.evaluation.predictions import read_predictions
from t3d.inference.backends.base import PRECISIONS

_OWN = {"--split": 1, "--seed": 1, "--output": 1, "--init": 1, "--resume": 0, "--overwrite": 0}
"""Flags in which repetitions may differ, with the number of values of each."""


@dataclass(frozen=True, kw_only=True)
class Evaluated:
    """An evaluated run."""

    name: str
    metrics: Mapping[str, Any]
    results: Mapping[str, VideoResult]
    """Results by video; empty without predictions."""
    labels: Sequence[str]

    @property
    def repetition(self) -> tuple[Any, Any]:
        """Split and seed, in which repetitions of an experiment may differ."""
        return self.metrics["dataset"]["split_number"], self.metrics["seed"]

    def test_set(self) -> frozenset[tuple[str, str]]:
        """Videos and labels; equal for runs that can be compared video by video."""
        return frozenset((result.video, self.labels[result.label]) for result in self.results.values())

    def right(self, videos: Iterable[str]) -> list[bool]:
        """Whether each video is classified correctly."""
        return [self.results[video].within(1) for video in videos]


def read_evaluated(path: Path) -> Evaluated:
    """Read a run folder or a `metrics.json`.

    Raises:
        CheckpointError: There are no metrics, or a file is malformed.
    """
    file = path / "metrics.json" if path.is_dir() else path
    try:
        metrics: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
        experiment_key(metrics), metrics["video"]["top1"], metrics["video"]["num_videos"], metrics["clip"]["top1"]
        metrics["dataset"]["split_number"], metrics["seed"], metrics["protocol"]["views"]
    except FileNotFoundError:
        raise CheckpointError(f"{file}: no metrics; run t3d evaluate {path} first") from None
    except (ValueError, KeyError, TypeError, UnicodeDecodeError):
        raise CheckpointError(f"{file}: not the metrics of an evaluation; run t3d evaluate again") from None
    metrics["protocol"] = _with_present_names(metrics["protocol"])
    there = file.name == "metrics.json" and any(file.parent.glob("predictions.*"))
    results, labels = read_predictions(file.parent) if there else ([], ())
    return Evaluated(name=str(path), metrics=metrics, results={row.video: row for row in results}, labels=labels)


def read_predicted(path: Path) -> Evaluated:
    """Read a run that must have predictions.

    Raises:
        CheckpointError: As `read_evaluated`, or there are no predictions.
    """
    evaluated = read_evaluated(path)
    if not evaluated.results:
        raise CheckpointError(f"{path}: no predictions; run t3d evaluate first")
    return evaluated


def experiment_key(metrics: Mapping[str, Any]) -> str:
    """Key of an experiment: equal for runs that differ only in split and seed."""
    training = metrics.get("training") or {}
    lineage = training.get("lineage") or []
    ancestors = [row.get("command") or row.get("file") for row in lineage]  # published files have no command
    facts = [
        {key: metrics["dataset"].get(key) for key in ("name", "root", "subset")},
        metrics["protocol"],
        metrics["model"],
        [_without_own(command) for command in (training.get("command"), *ancestors) if command],
        _weighting(metrics),
    ]
    return json.dumps(facts, sort_keys=True)


def _with_present_names(protocol: Mapping[str, Any]) -> dict[str, Any]:
    """Add engine and current names of precisions to older files."""
    named = {key: PRECISIONS.get(value, value) for key, value in protocol.items() if key == "precision"}
    return {"engine": "torch", **protocol, **named}


def _weighting(metrics: Mapping[str, Any]) -> str | list[float] | None:
    """Key of a fusion: that its weights were fitted, or their given values."""
    fusion = metrics.get("fusion")
    if fusion is None:
        return None
    return "fitted" if fusion["fitted"] else [row["weight"] for row in fusion["runs"]]


def _without_own(command: str) -> list[str]:
    kept, skipped = [], 0
    for word in shlex.split(command):
        flag, assigned, _ = word.partition("=")
        if skipped:
            skipped -= 1
        elif flag in _OWN:
            skipped = 0 if assigned else _OWN[flag]
        else:
            kept.append(word)
    return kept
