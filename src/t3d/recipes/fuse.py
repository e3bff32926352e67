"""Score several evaluated runs together, such as one of pictures and one of optical flow, from their predictions."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from t3d.config import EvaluateConfig, FuseConfig
from t3d.engine.fusion import fit_weights, mix
from t3d.engine.metrics import VideoResult, summarise
from t3d.engine.runs import versions
from t3d.errors import CheckpointError, DataError
from t3d.recipes import evaluate
from t3d.recipes.description import SCHEMA_VERSION
from t3d.recipes.evaluated import Evaluated, read_evaluated
from t3d.recipes.folders import make_folder

Rows = list[list[VideoResult]]
"""For each run, its videos, all in one order."""


@dataclass(frozen=True, kw_only=True)
class Weights:
    """How much each run counts, and who says so."""

    values: tuple[float, ...]
    origin: str
    warnings: tuple[str, ...] = ()


def run(config: FuseConfig, *, command: str) -> dict[str, Any]:
    """Fuse; returns what `metrics.json` holds.

    Raises:
        CheckpointError: A run was not evaluated, or its validation predictions are of other weights.
        DataError: The runs were evaluated on different videos or labels.
    """
    runs = [_read(path) for path in config.runs]
    rows = _aligned(runs)
    weights = _choose_weights(config, runs)
    results = mix(rows, weights.values)
    metrics = _describe(runs, weights, results, command=command) | summarise(results)
    evaluate.write_results(make_folder(config.output), metrics, results, runs[0].labels, kind="csv")
    return metrics


def show(metrics: dict[str, Any], config: FuseConfig) -> int:
    """Print weights and headline; exit code 1 where a video could not be decoded."""
    for row in metrics["fusion"]["runs"]:
        print(f"{row['weight']:.3f} x {row['run']}")
    print(f"weights {metrics['fusion']['origin']}")
    return evaluate.show(metrics, EvaluateConfig(weights=config.output))


def _read(path: Path) -> Evaluated:
    evaluated = read_evaluated(path)
    if not evaluated.results:
        raise CheckpointError(f"{path}: no predictions; run t3d evaluate first")
    return evaluated


def _aligned(runs: Sequence[Evaluated]) -> Rows:
    """Every run's rows in the order of the first one's.

    Raises:
        DataError: The videos or labels are not the same.
    """
    first = runs[0]
    for other in runs[1:]:
        if other.labels != first.labels:
            raise _different(first, other, f"classes {len(first.labels)} and {len(other.labels)}, or other ones")
        odd = sorted(first.results.keys() ^ other.results.keys())
        if odd:
            raise _different(first, other, f"only one of them has {odd[0]}")
        for name, row in first.results.items():
            if other.results[name].label != row.label:
                raise _different(first, other, f"the label of {name}")
    return [[each.results[name] for name in first.results] for each in runs]


def _different(first: Evaluated, other: Evaluated, what: str) -> DataError:
    return DataError(f"{first.name} and {other.name}: evaluated on different videos ({what}); use the same list")


def _choose_weights(config: FuseConfig, runs: Sequence[Evaluated]) -> Weights:
    if config.weights:
        return Weights(values=tuple(weight / sum(config.weights) for weight in config.weights), origin="given by hand")
    folders = [path / "validation" for path in config.runs]
    lacking = [path for path, folder in zip(config.runs, folders, strict=True) if not folder.is_dir()]
    if lacking:
        text = f"equal, for {lacking[0]} has no validation predictions (t3d evaluate {lacking[0]} --subset validation)"
        return Weights(values=(1 / len(runs),) * len(runs), origin=text, warnings=(f"the weights are {text}",))
    validations = [_read_validation(folder, tested) for folder, tested in zip(folders, runs, strict=True)]
    decoded = [rows for rows in zip(*_aligned(validations), strict=True) if all(row.scores for row in rows)]
    if not decoded:
        raise DataError(f"{folders[0]}: no video to fit weights on was decoded by all runs; give them by --weights")
    split = validations[0].metrics["dataset"]["split"]
    return Weights(
        values=fit_weights(list(zip(*decoded, strict=True))), origin=f"fitted on {len(decoded)} videos, {split}"
    )


def _read_validation(folder: Path, tested: Evaluated) -> Evaluated:
    """Validation predictions that fit the test predictions of a run.

    Raises:
        CheckpointError: They are of other weights.
        DataError: They are of videos that weights must not be fitted on.
    """
    validation = _read(folder)
    subset = validation.metrics["dataset"].get("subset")
    if subset != "validation":
        raise DataError(f"{folder}: holds predictions of {subset} videos; weights are fitted on validation videos only")
    shared = sorted(validation.results.keys() & tested.results.keys())
    if shared:
        raise DataError(f"{folder}: {shared[0]} is a test video, too; weights must not be fitted on it")
    if validation.metrics["checkpoint"]["sha256"] != tested.metrics["checkpoint"]["sha256"]:
        raise CheckpointError(f"{folder}: of other weights than {tested.name}; run t3d evaluate again for both lists")
    return validation


def _describe(
    runs: Sequence[Evaluated], weights: Weights, results: Sequence[VideoResult], *, command: str
) -> dict[str, Any]:
    every = [each.metrics for each in runs]
    warnings = [line for metrics in every for line in metrics["warnings"]]
    models = [metrics["model"] for metrics in every]
    together = {key: _joined([metrics[key] for metrics in every]) for key in ("selection", "seed")}
    return together | {
        "schema_version": SCHEMA_VERSION,
        "model": {
            "arch": " + ".join(model["arch"] for model in models),
            "overrides": [model["overrides"] for model in models],
            "num_classes": models[0]["num_classes"],
        },
        "dataset": every[0]["dataset"],
        "protocol": _joined_values([metrics["protocol"] for metrics in every]),
        "fusion": {
            "runs": [
                {"run": each.name, "checkpoint": each.metrics["checkpoint"], "weight": weight}
                for each, weight in zip(runs, weights.values, strict=True)
            ],
            "origin": weights.origin,
        },
        "training": {"command": None, "preset": None, "lineage": [row for each in runs for row in _lineage(each)]},
        "checkpoint": _joined_values([metrics["checkpoint"] for metrics in every]),
        "command": command,
        "warnings": [*dict.fromkeys(warnings), *weights.warnings],
        "undecodable": [result.error for result in results if result.error],
        "versions": versions(),
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
    }


def _lineage(evaluated: Evaluated) -> list[dict[str, Any]]:
    """The runs that a run's weights went through, itself the last."""
    metrics = evaluated.metrics
    training = metrics["training"]
    own = {"arch": metrics["model"]["arch"], "command": training["command"], "inflated": None}
    return [*(training["lineage"] or []), {**metrics["checkpoint"], **own}]


def _joined_values(tables: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    return {key: _joined([table.get(key) for table in tables]) for key in tables[0]}


def _joined(values: Sequence[Any]) -> Any:  # noqa: ANN401  (what a description may hold)
    """What all runs share, or what each of them has."""
    return values[0] if all(value == values[0] for value in values) else " + ".join(map(str, values))
