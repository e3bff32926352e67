"""Provenance of results: the entries of `metrics.json` beside the metrics, for evaluations and fusions."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from t3d.data.samples import Subset, VideoList
from t3d.evaluation.metrics import VideoResult
from t3d.evaluation.results import Evaluated
from t3d.video.spec import PixelSpec, SegmentSpec, ViewSpec

if TYPE_CHECKING:
    from t3d.evaluation.fusion import FusionWeights
    from t3d.inference.open import InferenceModel

SCHEMA_VERSION = 1


def evaluation_facts(
    model: "InferenceModel",
    videos: VideoList,
    results: Sequence[VideoResult],
    *,
    dataset: str,
    subset: Subset,
    split: int,
    views: ViewSpec,
    caveats: Sequence[str],
    command: str,
    versions: Mapping[str, str],
) -> dict[str, Any]:
    """Provenance of an evaluation.

    Args:
        model: The model.
        videos: The list of videos.
        results: One row per video.
        dataset: Name of the dataset.
        subset: Subset of the split.
        split: Number of the split.
        views: The requested views.
        caveats: Warnings of this result; those of the weights are put before them.
        command: The command line.
        versions: Releases of libraries.
    """
    from t3d.models.checkpoints import file_hash

    card, trained = model.card, model.card.training
    return {
        "schema_version": SCHEMA_VERSION,
        "model": {"arch": card.arch, "overrides": dict(card.overrides), "num_classes": len(card.labels)},
        "dataset": {
            "name": dataset,
            "root": str(videos.root),
            "format": videos.format,
            "subset": subset,
            "split_number": split,
            "split": videos.split,
            "missing": [str(path) for path in videos.missing],
        },
        "protocol": _protocol(model, views),
        "selection": _selection(trained.get("select_on")),
        "seed": trained.get("seed", "not known"),
        "training": {key: trained.get(key) for key in ("command", "preset", "lineage")},
        "checkpoint": {"file": str(model.file), "sha256": file_hash(model.file)},
        **({} if model.export is None else {"export": asdict(model.export)}),
        "command": command,
        "warnings": [*trained.get("caveats", []), *caveats, *videos.warnings],
        **_written(results, versions),
    }


def overlap_warnings(folder: Path | None, trained: Mapping[str, Any], videos: VideoList) -> list[str]:
    """Warn of videos that the weights, or those they were made from, were trained on.

    Args:
        folder: The run; None if unknown.
        trained: Training entries of the model card.
        videos: Test videos.
    """
    from t3d.data.trained_on import overlap_warning

    ancestors = [Path(ancestor["file"]).parent for ancestor in trained.get("lineage", [])]
    own = "" if folder is None else overlap_warning(folder, videos)
    inherited = [
        f"{ancestor}, from which these weights come: {warning}"
        for ancestor in dict.fromkeys(ancestors)
        if (warning := overlap_warning(ancestor, videos))
    ]
    return [own, *inherited] if own else inherited


def fusion_facts(
    runs: Sequence[Evaluated],
    weights: "FusionWeights",
    results: Sequence[VideoResult],
    *,
    command: str,
    versions: Mapping[str, str],
) -> dict[str, Any]:
    """Provenance of a fusion: that of its runs, combined.

    Args:
        runs: The fused runs.
        weights: Their weights.
        results: One row per video.
        command: The command line.
        versions: Releases of libraries.
    """
    every = [run.metrics for run in runs]
    models = [metrics["model"] for metrics in every]
    parts = [
        {"run": run.name, "checkpoint": run.metrics["checkpoint"], "weight": weight}
        for run, weight in zip(runs, weights.values, strict=True)
    ]
    warnings = [line for metrics in every for line in metrics["warnings"]]
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
        "schema_version": SCHEMA_VERSION,
        "fusion": {"runs": parts, "fitted": weights.fitted, "origin": weights.origin},
        "training": {"command": None, "preset": None, "lineage": [row for run in runs for row in _lineage(run)]},
        "command": command,
        "warnings": [*dict.fromkeys(warnings), *weights.warnings],
        **_written(results, versions),
    }


def _written(results: Sequence[VideoResult], versions: Mapping[str, str]) -> dict[str, Any]:
    return {
        "undecodable": [result.error for result in results if result.error],
        "versions": dict(versions),
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
    }


def _protocol(model: "InferenceModel", views: ViewSpec) -> dict[str, Any]:
    """Protocol from videos to scores."""
    card = model.card
    return {
        "views": _views(views, card.segments),
        "num_frames": card.clip.num_frames,
        "frame_stride": card.clip.frame_stride,
        "order": card.clip.order,
        "resize": card.pixels.resize,
        "crop_size": card.pixels.crop_size,
        "modality": card.pixels.modality,
        **_flow(card.pixels),
        "engine": model.engine,
        "precision": model.precision,
        "averaged": _averaged(card.segments),
    }


def _views(views: ViewSpec, segments: SegmentSpec) -> str:
    resolved = segments.resolve(views)
    return f"{resolved}, {segments.rule} of logits" if segments.enabled else str(resolved)


def _flow(pixels: PixelSpec) -> dict[str, Any]:
    """Method of optical flow, if it is the input."""
    return {name: getattr(pixels, name) for name in ("flow_method", "flow_bound") if pixels.modality == "flow"}


def _averaged(segments: SegmentSpec) -> str:
    if segments.enabled:
        return f"softmax of the {segments.rule} of the logits of all views of a video; learnt with {segments.segments}"
    return "softmax scores of all views of a video"


def _selection(select_on: str | None) -> str:
    if select_on is None:
        return "not known"  # published weights
    return "last epoch" if select_on == "none" else f"best epoch on {select_on} videos"


def _lineage(run: Evaluated) -> list[dict[str, Any]]:
    """Lineage of a run, itself last."""
    training = run.metrics["training"]
    own = {"arch": run.metrics["model"]["arch"], "command": training["command"], "inflated": None}
    return [*(training["lineage"] or []), {**run.metrics["checkpoint"], **own}]


def _joined_values(tables: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    keys = dict.fromkeys(key for table in tables for key in table)
    return {key: _joined([table[key] for table in tables if key in table]) for key in keys}


def _joined(values: Sequence[Any]) -> Any:  # noqa: ANN401  (what a description may hold)
    """The common value of all runs, or the list of their values."""
    return values[0] if all(value == values[0] for value in values) else " + ".join(map(str, values))
