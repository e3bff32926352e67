"""What a fused result must say about itself: which runs, how much each counts, and what any of them warned of."""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from t3d.engine.metrics import VideoResult
from t3d.engine.runs import versions
from t3d.recipes.description import SCHEMA_VERSION
from t3d.recipes.evaluated import Evaluated
from t3d.recipes.fusion_weights import Weights


def describe(
    runs: Sequence[Evaluated], weights: Weights, results: Sequence[VideoResult], *, command: str
) -> dict[str, Any]:
    """What `metrics.json` holds beside the figures."""
    warnings = [line for each in runs for line in each.metrics["warnings"]]
    return _shared([each.metrics for each in runs]) | {
        "schema_version": SCHEMA_VERSION,
        "fusion": _fusion(runs, weights),
        "training": {"command": None, "preset": None, "lineage": [row for each in runs for row in _lineage(each)]},
        "command": command,
        "warnings": [*dict.fromkeys(warnings), *weights.warnings],
        "undecodable": [result.error for result in results if result.error],
        "versions": versions(),
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
    }


def _shared(every: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """What describes one run, of all of them."""
    models = [metrics["model"] for metrics in every]
    return {
        "model": {
            "arch": " + ".join(model["arch"] for model in models),
            "overrides": [model["overrides"] for model in models],
            "num_classes": models[0]["num_classes"],
        },
        "dataset": every[0]["dataset"],
        "protocol": _joined_values([metrics["protocol"] for metrics in every]),
        "checkpoint": _joined_values([metrics["checkpoint"] for metrics in every]),
        "selection": _joined([metrics["selection"] for metrics in every]),
        "seed": _joined([metrics["seed"] for metrics in every]),
    }


def _fusion(runs: Sequence[Evaluated], weights: Weights) -> dict[str, Any]:
    parts = [
        {"run": each.name, "checkpoint": each.metrics["checkpoint"], "weight": weight}
        for each, weight in zip(runs, weights.values, strict=True)
    ]
    return {"runs": parts, "fitted": weights.fitted, "origin": weights.origin}


def _lineage(evaluated: Evaluated) -> list[dict[str, Any]]:
    """The runs that a run's weights went through, itself the last."""
    metrics = evaluated.metrics
    training = metrics["training"]
    own = {"arch": metrics["model"]["arch"], "command": training["command"], "inflated": None}
    return [*(training["lineage"] or []), {**metrics["checkpoint"], **own}]


def _joined_values(tables: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    keys = dict.fromkeys(key for table in tables for key in table)
    return {key: _joined([table[key] for table in tables if key in table]) for key in keys}


def _joined(values: Sequence[Any]) -> Any:  # noqa: ANN401  (what a description may hold)
    """What all that have it share, or what each of them has."""
    return values[0] if all(value == values[0] for value in values) else " + ".join(map(str, values))
