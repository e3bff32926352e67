"""Score a trained run on labelled videos and write metrics, predictions and a report."""

from collections.abc import Sequence
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

from lightning.fabric import Fabric
from torch import distributed

from t3d.config import EvaluateConfig, ScoringOptions
from t3d.data.samples import VideoList
from t3d.engine.checkpoints import ModelCard, file_hash, load_model, weights_file
from t3d.engine.metrics import VideoResult, as_result, summarise
from t3d.engine.report import write_predictions, write_report
from t3d.engine.runs import versions
from t3d.engine.scoring import ViewSpec, score_videos
from t3d.errors import DataError
from t3d.recipes.console import bar, say, warn
from t3d.recipes.datasets import find_videos
from t3d.recipes.device import close_fabric, open_fabric
from t3d.video.decode import open_video

SCHEMA_VERSION = 1


def run(config: EvaluateConfig, *, command: str) -> dict[str, Any]:
    """Evaluate; returns what `metrics.json` holds."""
    options = config.scoring
    model, card = load_model(config.weights)
    videos = _find(config, card)
    folder = config.output or weights_file(config.weights).parent
    folder.mkdir(parents=True, exist_ok=True)
    fabric = open_fabric(options)
    model.to(fabric.device)
    mine = videos.samples[fabric.global_rank :: fabric.world_size]
    with bar("scoring", total=len(mine)) as progress, fabric.autocast():
        scored = score_videos(
            model,
            mine,
            clip=card.clip,
            pixels=card.pixels,
            views=view_spec(options),
            num_workers=options.workers,
            source=partial(open_video, backend=options.backend),
        )
        results = []
        for video in scored:
            results.append(as_result(video))
            progress.advance(progress.task_ids[0])
    results = _gather(results, fabric)
    metrics = _describe(config, card, videos, results, command=command) | summarise(results)
    if fabric.is_global_zero:
        _write(folder, config, metrics, results, card.labels)
    close_fabric(fabric)
    return metrics


def view_spec(options: ScoringOptions) -> ViewSpec:
    """The views that the flags ask for."""
    return ViewSpec(clips=options.clips, crops=options.crops, batch_size=options.batch_size)


def _find(config: EvaluateConfig, card: ModelCard) -> VideoList:
    data = config.data or Path(card.training["dataset"])
    split = config.split if config.split is not None else card.training["split"]
    layout = config.format or (card.training["format"] if config.data is None else None)
    videos = find_videos(data, subset=config.subset, split=split, format=layout)
    if videos.labels != card.labels:
        raise DataError(
            f"{data}: its {len(videos.labels)} classes are not the {len(card.labels)} of {config.weights} "
            f"(first difference: {_first_difference(videos.labels, card.labels)}); give the data the run was trained on"
        )
    return videos


def _first_difference(found: Sequence[str], expected: Sequence[str]) -> str:
    odd = sorted(set(found) ^ set(expected)) or ["their order"]
    return odd[0]


def _gather(results: list[VideoResult], fabric: Fabric) -> list[VideoResult]:
    """All processes' rows in the order of the list: process k of n has rows k, k + n, ..."""
    if fabric.world_size == 1:
        return results
    parts: list[list[VideoResult]] = [[] for _ in range(fabric.world_size)]
    distributed.all_gather_object(parts, results)
    merged = [VideoResult(video="", label=0, scores=(), num_views=0, views_correct=0)] * sum(map(len, parts))
    for rank, part in enumerate(parts):
        merged[rank :: fabric.world_size] = part
    return merged


def _describe(
    config: EvaluateConfig, card: ModelCard, videos: VideoList, results: Sequence[VideoResult], *, command: str
) -> dict[str, Any]:
    file = weights_file(config.weights)
    caveats = list(card.training.get("caveats", []))
    if config.subset != "test":
        caveats.append(f"these are {config.subset} videos, not test videos")
    selected = card.training["select_on"]
    return {
        "schema_version": SCHEMA_VERSION,
        "model": {"arch": card.arch, "overrides": dict(card.overrides), "num_classes": len(card.labels)},
        "dataset": {
            "name": videos.root.name,
            "root": str(videos.root),
            "format": videos.format,
            "subset": config.subset,
            "split_number": config.split if config.split is not None else card.training["split"],
            "split": videos.split,
            "missing": [str(path) for path in videos.missing],
        },
        "protocol": {
            "views": str(view_spec(config.scoring)),
            "num_frames": card.clip.num_frames,
            "frame_stride": card.clip.frame_stride,
            "order": card.clip.order,
            "resize": card.pixels.resize,
            "crop_size": card.pixels.crop_size,
            "precision": config.scoring.precision,
            "averaged": "softmax scores of all views of a video",
        },
        "selection": "last epoch" if selected == "none" else f"best epoch on {selected} videos",
        "seed": card.training["seed"],
        "training": {key: card.training.get(key) for key in ("command", "preset", "lineage")},
        "checkpoint": {"file": str(file), "sha256": file_hash(file)},
        "command": command,
        "warnings": [*caveats, *videos.warnings],
        "undecodable": [result.error for result in results if result.error],
        "versions": versions(),
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
    }


def _write(
    folder: Path, config: EvaluateConfig, metrics: dict[str, Any], results: list[VideoResult], labels: tuple[str, ...]
) -> None:
    write_predictions(folder, results, labels, kind=config.predictions)
    report = write_report(folder, metrics, results, labels)
    for line in metrics["undecodable"]:
        warn(f"counted as wrong: {line}")
    say(f"report: {report}")


def show(metrics: dict[str, Any], config: EvaluateConfig) -> int:
    """Print the headline; exit code 1 where a video could not be decoded."""
    video, clip = metrics["video"], metrics["clip"]
    low, high = video["top1_interval"]
    print(f"{metrics['dataset']['split']}: {video['num_videos']} videos, {metrics['protocol']['views']}")
    print(f"video top-1 {video['top1']:.2%} (95 % interval {low:.1%} to {high:.1%})", end="  ")
    print(f"top-5 {video['top5']:.2%}  mean class {video['mean_class']:.2%}")
    if clip["top1"] is not None:
        print(f"clip top-1 {clip['top1']:.2%} ({clip['num_clips']} clips)")
    return int(bool(metrics["undecodable"]))
