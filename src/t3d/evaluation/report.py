"""Metrics, predictions and pictures of an evaluation as files, and one page that holds them all."""

import base64
import html
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from t3d.evaluation.metrics import VideoResult, class_accuracy, confusion
from t3d.evaluation.plots import class_figure, confusion_figure, save_figure
from t3d.files import complete, write_csv, write_text

_STYLE = """
body { font: 15px/1.5 system-ui, sans-serif; max-width: 1000px; margin: 2em auto; padding: 0 1em; color: #222; }
h1 { font-size: 1.5em; } h2 { font-size: 1.15em; margin-top: 2em; }
table { border-collapse: collapse; }
td, th { padding: .25em .9em .25em 0; text-align: left; border-bottom: 1px solid #ddd; }
td.number { text-align: right; font-variant-numeric: tabular-nums; } img { max-width: 100%; }
.warning { background: #fff3cd; padding: .6em 1em; margin: .5em 0; } code { background: #f3f3f3; padding: .1em .3em; }
.big { font-size: 2.2em; font-weight: 600; } .muted { color: #666; }
"""


def write_predictions(
    folder: Path, results: Sequence[VideoResult], labels: Sequence[str], *, kind: str = "csv"
) -> Path:
    """Write one row a video: label, prediction, whether they agree, error, and the score of every class.

    Args:
        folder: Where to.
        results: One row a video.
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
    return path


def prediction_row(result: VideoResult, labels: Sequence[str]) -> dict[str, Any]:
    """The row of one video; scores keep all their digits, so that they can be compared exactly."""
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
    return row | {f"score:{label}": score for label, score in zip(labels, scores, strict=True)}


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
    video, clip = metrics["video"], metrics["clip"]
    low, high = video["top1_interval"]
    parts = [
        f"<h1>{_text(metrics['model']['arch'])} on {_text(metrics['dataset']['name'])}</h1>",
        *(f'<p class="warning">{_text(line)}</p>' for line in metrics["warnings"]),
        f'<p><span class="big">{video["top1"]:.1%}</span> video top-1 '
        f'<span class="muted">(95 % interval {low:.1%} to {high:.1%}, {video["num_videos"]} videos, '
        f"{_text(metrics['protocol']['views'])})</span></p>",
        _table(_headline(video, clip)),
        _section("By tag", _table({tag: f"{row['top1']:.1%} of {row['num_videos']}" for tag, row in _tags(metrics)})),
        _section("How it was measured", _table(_provenance(metrics))),
        _section("Where the weights come from, oldest first", _list(_ancestors(metrics))),
        _section("Confusion matrix", _image(folder / "confusion.png")),
        _section("Classes", _image(folder / "classes.png")),
        _section("Training", _image(folder / "training.png")),
        _section("Videos that could not be decoded, counted as wrong", _list(metrics["undecodable"])),
        _section("Videos the list names that are not there, not counted", _list(metrics["dataset"]["missing"])),
        _section("Confident mistakes", _mistakes(results, labels)),
    ]
    title = f"t3d: {_text(metrics['dataset']['name'])}"
    head = f'<meta charset="utf-8"><title>{title}</title><style>{_STYLE}</style>'
    return (
        f'<!doctype html><html lang="en"><head>{head}</head><body>\n'
        + "\n".join(filter(None, parts))
        + "\n</body></html>\n"
    )


def _headline(video: Mapping[str, Any], clip: Mapping[str, Any]) -> dict[str, str]:
    rows = {
        "video top-1": f"{video['top1']:.2%}",
        "video top-5": f"{video['top5']:.2%}",
        "video mean class accuracy": f"{video['mean_class']:.2%}",
    }
    if clip["top1"] is not None:
        rows["clip top-1"] = f"{clip['top1']:.2%} ({clip['num_clips']} clips)"
    return rows


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
    """One line for each run that the weights went through before their last training."""
    return [
        f"{ancestor['arch']}, {ancestor['file']} (sha256 {ancestor['sha256']}): {ancestor['command'] or 'published'}"
        + (f", inflated ({ancestor['inflated']})" if ancestor.get("inflated") else "")
        for ancestor in metrics["training"]["lineage"] or []
    ]


def _mistakes(results: Sequence[VideoResult], labels: Sequence[str]) -> str:
    wrong = [result for result in results if result.scores and not result.within(1)]
    wrong.sort(key=lambda result: -max(result.scores))
    rows = [
        f"<tr><td>{_text(result.video)}</td><td>{_text(labels[result.label])}</td>"
        f'<td>{_text(labels[result.ranking[0]])}</td><td class="number">{max(result.scores):.3f}</td></tr>'
        for result in wrong[:20]
    ]
    head = "<tr><th>video</th><th>true</th><th>predicted</th><th>score</th></tr>"
    return f"<table>{head}{''.join(rows)}</table>" if rows else ""


def _tags(metrics: Mapping[str, Any]) -> list[tuple[str, Any]]:
    return list(metrics.get("by_tag", {}).items())


def _section(title: str, body: str) -> str:
    return f"<h2>{title}</h2>\n{body}" if body else ""


def _table(rows: Mapping[str, str]) -> str:
    lines = (f"<tr><th>{_text(name)}</th><td>{_text(value)}</td></tr>" for name, value in rows.items())
    return f"<table>{''.join(lines)}</table>" if rows else ""


def _list(lines: Sequence[str]) -> str:
    return "<ul>" + "".join(f"<li>{_text(line)}</li>" for line in lines) + "</ul>" if lines else ""


def _image(path: Path) -> str:
    if not path.exists():
        return ""
    data = base64.b64encode(path.read_bytes()).decode("ascii")
    return f'<img alt="{_text(path.stem)}" src="data:image/png;base64,{data}">'


def _text(value: object) -> str:
    return html.escape(str(value))
