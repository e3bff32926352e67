"""Write metrics and figures of an evaluation, and one HTML page with all of them.

The page is the template `templates/report.html`; this module prepares its values.
"""

import base64
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from t3d.evaluation.metrics import METRICS, VideoResult, class_accuracy, confusion
from t3d.evaluation.plots import class_figure, confusion_figure, save_figure
from t3d.files import write_text

_MOST_MISTAKES = 20


def write_report(
    folder: Path, metrics: Mapping[str, Any], results: Sequence[VideoResult], labels: Sequence[str]
) -> Path:
    """Write `metrics.json`, `confusion.png`, `classes.png` and the self-contained `report.html`."""
    write_text(folder / "metrics.json", json.dumps(metrics, indent=2) + "\n")
    save_figure(confusion_figure(confusion(results, len(labels)), labels), folder / "confusion.png")
    save_figure(class_figure(class_accuracy(results), labels), folder / "classes.png")
    path = folder / "report.html"
    write_text(path, _page(folder, metrics, results, labels))
    return path


def _page(folder: Path, metrics: Mapping[str, Any], results: Sequence[VideoResult], labels: Sequence[str]) -> str:
    from jinja2 import Environment, PackageLoader, StrictUndefined

    environment = Environment(loader=PackageLoader("t3d.evaluation"), autoescape=True, undefined=StrictUndefined)
    titles = {"confusion": "Confusion matrix", "classes": "Classes", "training": "Training"}
    return environment.get_template("report.html").render(
        metrics=metrics,
        headline=_headline(metrics),
        tags={tag: f"{row['top1']:.1%} of {row['num_videos']}" for tag, row in metrics.get("by_tag", {}).items()},
        provenance=_provenance(metrics),
        ancestors=_ancestors(metrics),
        pictures=[
            {"title": title, "name": name, "data": _base64(folder / f"{name}.png")} for name, title in titles.items()
        ],
        mistakes=_mistakes(results, labels),
    )


def _headline(metrics: Mapping[str, Any]) -> dict[str, str]:
    """Texts of all defined metrics."""
    counts = {"video": "", "clip": f" ({metrics['clip']['num_clips']} clips)"}
    return {
        metric.title: text + counts[metric.section] for metric in METRICS.values() if (text := metric.text(metrics))
    }


def _provenance(metrics: Mapping[str, Any]) -> dict[str, str]:
    protocol, dataset = metrics["protocol"], metrics["dataset"]
    return {
        "dataset": f"{dataset['root']} ({dataset['format']})",
        "split": dataset["split"],
        "views": protocol["views"],
        "clip": f"{protocol['num_frames']} frames at stride {protocol['frame_stride']}, {protocol['order']}",
        "crop": f"{protocol['crop_size']} px of {protocol['resize']} px, {protocol['modality']}",
        **_flow(protocol),
        "computed by": ", ".join(protocol[name] for name in ("engine", "precision") if name in protocol),
        **_fusion(metrics),
        "selection": metrics["selection"],
        "seed": str(metrics["seed"]),
        "checkpoint": f"{metrics['checkpoint']['file']} (sha256 {metrics['checkpoint']['sha256']})",
        "command": metrics["command"],
        "versions": ", ".join(f"{name} {version}" for name, version in metrics["versions"].items()),
        "date": metrics["created"],
    }


def _flow(protocol: Mapping[str, Any]) -> dict[str, str]:
    if "flow_method" not in protocol:
        return {}
    return {"optical flow": f"{protocol['flow_method']}, up to {protocol['flow_bound']} of the short side"}


def _fusion(metrics: Mapping[str, Any]) -> dict[str, str]:
    if "fusion" not in metrics:
        return {}
    parts = (f"{row['weight']:.3f} x {row['run']}" for row in metrics["fusion"]["runs"])
    return {"scores": " + ".join(parts), "weights": metrics["fusion"]["origin"]}


def _ancestors(metrics: Mapping[str, Any]) -> list[str]:
    """One line per run in the lineage before the last training."""
    return [
        f"{ancestor['arch']}, {ancestor['file']} (sha256 {ancestor['sha256']}): {ancestor['command'] or 'published'}"
        + (f", inflated ({ancestor['inflated']})" if ancestor.get("inflated") else "")
        for ancestor in metrics["training"]["lineage"] or []
    ]


def _mistakes(results: Sequence[VideoResult], labels: Sequence[str]) -> list[dict[str, Any]]:
    """Wrong predictions with the highest scores."""
    wrong = [result for result in results if result.scores and not result.within(1)]
    wrong.sort(key=lambda result: -max(result.scores))
    return [
        {
            "video": result.video,
            "label": labels[result.label],
            "predicted": labels[result.ranking[0]],
            "score": max(result.scores),
        }
        for result in wrong[:_MOST_MISTAKES]
    ]


def _base64(path: Path) -> str:
    return base64.b64encode(path.read_bytes()).decode("ascii") if path.exists() else ""
