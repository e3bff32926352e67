"""Score several evaluated runs together, such as one of pictures and one of optical flow, from their predictions."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from t3d.commands import evaluate
from t3d.commands._output import make_folder
from t3d.commands.evaluate import SCHEMA_VERSION
from t3d.config import EvaluateConfig, FuseConfig
from t3d.errors import CheckpointError, ConfigError, DataError
from t3d.evaluation.fusion import fit_weights, mix, unlike
from t3d.evaluation.metrics import VideoResult, summarise
from t3d.evaluation.results import Evaluated, read_predicted
from t3d.models.checkpoints import WEIGHTS_NAME
from t3d.run_files import versions


@dataclass(frozen=True, kw_only=True)
class Weights:
    """How much each run counts."""

    values: tuple[float, ...]
    fitted: bool = False
    """On validation videos, so that another seed may have other values by the same rule."""
    origin: str
    """The same and more, for people."""
    warnings: tuple[str, ...] = ()


def aligned(runs: Sequence[Evaluated]) -> list[list[VideoResult]]:
    """Every run's rows in the order of the first one's.

    Raises:
        DataError: The videos or labels are not the same.
    """
    first = runs[0]
    for other in runs[1:]:
        what = unlike(first.results, other.results)
        if other.labels != first.labels:
            what = f"classes {len(first.labels)} and {len(other.labels)}, or other ones"
        if what:
            pair = f"{first.name} and {other.name}"
            raise DataError(f"{pair}: evaluated on different videos ({what}); use the same list")
    return [[each.results[name] for name in first.results] for each in runs]


def choose_weights(config: FuseConfig, runs: Sequence[Evaluated]) -> Weights:
    """Those given by hand, else those fitted on validation videos, else equal ones with a warning.

    Raises:
        CheckpointError: Validation predictions are of other weights.
        DataError: They are of videos that weights cannot or must not be fitted on.
    """
    if config.weights:
        return Weights(values=tuple(weight / sum(config.weights) for weight in config.weights), origin="given by hand")
    lacking = [path for path in config.runs if not _validation(path).is_dir()]
    if lacking:
        how = f"t3d evaluate {lacking[0]} --subset validation, after a training with --select-on validation"
        text = f"equal, for {lacking[0]} has no validation predictions ({how})"
        return Weights(values=(1 / len(runs),) * len(runs), origin=text, warnings=(f"the weights are {text}",))
    return _fitted([_read(_validation(path), tested) for path, tested in zip(config.runs, runs, strict=True)])


def _validation(run: Path) -> Path:
    return run / "validation"


def _fitted(validations: Sequence[Evaluated]) -> Weights:
    decoded = [rows for rows in zip(*aligned(validations), strict=True) if all(row.scores for row in rows)]
    if not decoded:
        name = validations[0].name
        raise DataError(f"{name}: no video to fit weights on was decoded by all runs; give them by --weights")
    return Weights(
        values=fit_weights(list(zip(*decoded, strict=True))),
        fitted=True,
        origin=f"fitted on {len(decoded)} videos, {validations[0].metrics['dataset']['split']}",
        warnings=tuple(line for each in validations for line in _caveats(each)),
    )


def _caveats(validation: Evaluated) -> list[str]:
    """What an evaluation warned of, but for being none of test videos, which is the point of it."""
    warnings = [line for line in validation.metrics["warnings"] if not line.startswith("these are validation videos")]
    return [f"weights were fitted on {validation.name}: {line}" for line in warnings]


def _read(folder: Path, tested: Evaluated) -> Evaluated:
    """Validation predictions that fit the test predictions of a run.

    Raises:
        CheckpointError: They are of other weights.
        DataError: They are of videos that weights must not be fitted on.
    """
    validation = read_predicted(folder)
    subset = validation.metrics["dataset"].get("subset")
    if subset != "validation":
        raise DataError(f"{folder}: holds predictions of {subset} videos; weights are fitted on validation videos only")
    shared = sorted(validation.results.keys() & tested.results.keys())
    if shared:
        raise DataError(f"{folder}: {shared[0]} is a test video, too; weights must not be fitted on it")
    if validation.metrics["checkpoint"]["sha256"] != tested.metrics["checkpoint"]["sha256"]:
        raise CheckpointError(f"{folder}: of other weights than {tested.name}; run t3d evaluate again for both lists")
    return validation


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


def run(config: FuseConfig, *, command: str) -> dict[str, Any]:
    """Fuse; returns what `metrics.json` holds.

    Raises:
        CheckpointError: A run was not evaluated, or its validation predictions are of other weights.
        ConfigError: The output is the folder of a trained run, whose own results would be lost.
        DataError: The runs were evaluated on different videos or labels.
    """
    if (config.output / WEIGHTS_NAME).exists():
        raise ConfigError(f"--output {config.output}: is the folder of a trained run; name another folder")
    runs = [read_predicted(path) for path in config.runs]
    rows = aligned(runs)
    weights = choose_weights(config, runs)
    results = mix(rows, weights.values)
    metrics = describe(runs, weights, results, command=command) | summarise(results)
    evaluate.write_results(make_folder(config.output), metrics, results, runs[0].labels, kind="csv")
    return metrics


def show(metrics: dict[str, Any], config: FuseConfig) -> int:
    """Print weights and headline; exit code 1 where a video could not be decoded."""
    for row in metrics["fusion"]["runs"]:
        print(f"{row['weight']:.3f} x {row['run']}")
    print(f"weights {metrics['fusion']['origin']}")
    return evaluate.show(metrics, EvaluateConfig(weights=config.output))
