"""Score a trained run on labelled videos and write metrics, predictions and a report."""

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

from lightning_fabric import Fabric
from torch import distributed

from t3d.commands._console import counted, log, warn
from t3d.commands._datasets import find_videos, video_source
from t3d.commands._devices import launched, scoring_fabric
from t3d.config import EvaluateConfig
from t3d.data.samples import NoSuchSubsetError, VideoList
from t3d.data.splits import find_held_out
from t3d.data.trained_on import check_held_out
from t3d.errors import ConfigError, DataError
from t3d.evaluation.metrics import METRICS, VideoResult, summarise, video_result
from t3d.evaluation.predictions import write_predictions
from t3d.evaluation.provenance import evaluation_facts, overlap_warnings
from t3d.evaluation.report import write_report
from t3d.files import make_folder
from t3d.inference.open import InferenceModel, open_model
from t3d.inference.scoring import score_videos
from t3d.run_files import WEIGHTS_NAME, is_unfinished, versions


def run(config: EvaluateConfig, *, command: str) -> dict[str, Any]:
    """Evaluate; return the content of `metrics.json`."""
    options = config.scoring
    model = open_model(config.weights, engine=options.engine, precision=options.precision)
    videos = _find(config, model)
    fabric = scoring_fabric(model, options, devices=config.devices)
    folder = make_folder(config.output or _own_folder(config, model))
    with launched(fabric):
        results = _score(config, model, videos, fabric)
        metrics = _facts(config, model, videos, results, command=command) | summarise(results)
        if fabric.is_global_zero:
            save_results(folder, metrics, results, model.card.labels, kind=config.predictions)
    return metrics


def _find(config: EvaluateConfig, model: InferenceModel) -> VideoList:
    card, trained = model.card, model.card.training
    if config.data is None and "dataset" not in trained:
        raise ConfigError(f"{config.weights}: does not say which data it was trained on; name DATA after it")
    data = config.data or Path(trained["dataset"])
    layout = config.format or (trained.get("format") if config.data is None else None)
    find = partial(find_videos, data, split=_split(config, model), format=layout)
    try:
        videos = find(subset=config.subset)
    except NoSuchSubsetError:
        if config.subset != "validation" or config.data is not None or config.split is not None:
            raise
        videos = find_held_out(find(subset="train"), trained, name=str(config.weights))
        if model.run is not None:
            check_held_out(model.run, videos)
    if videos.labels != card.labels:
        raise DataError(
            f"{data}: its {len(videos.labels)} classes are not the {len(card.labels)} of {config.weights} "
            f"(first difference: {_first_difference(videos.labels, card.labels)}); give the data the run was trained on"
        )
    return videos


def _split(config: EvaluateConfig, model: InferenceModel) -> int:
    trained_on: int = model.card.training.get("split", 1)
    return trained_on if config.split is None else config.split


def _first_difference(found: Sequence[str], expected: Sequence[str]) -> str:
    odd = sorted(set(found) ^ set(expected)) or ["their order"]
    return odd[0]


def _own_folder(config: EvaluateConfig, model: InferenceModel) -> Path:
    """Default output: the run folder for test videos scored by PyTorch in float32, else a subfolder.

    A weights file with another name than a run's gets its own folder, because several may be in one folder.
    """
    file, computed_by = model.file, (model.engine, model.precision)
    folder = file.parent if file.name == WEIGHTS_NAME else file.with_suffix("")
    if model.export is None and computed_by != ("torch", "float32"):
        folder = folder / "-".join(computed_by)
    return folder if config.subset == "test" else folder / config.subset


def _score(config: EvaluateConfig, model: InferenceModel, videos: VideoList, fabric: Fabric) -> list[VideoResult]:
    """One row per video; each process scores its share, and all processes return all rows."""
    options = config.scoring
    mine = videos.samples[fabric.global_rank :: fabric.world_size]
    with fabric.autocast():
        scored = score_videos(
            model.start(fabric.device),
            mine,
            card=model.card,
            views=options.views,
            num_workers=options.workers,
            source=video_source(model.card.pixels, backend=options.backend),
        )
        return _gather([video_result(video) for video in counted(scored, "scoring", total=len(mine))], fabric)


def _gather(results: list[VideoResult], fabric: Fabric) -> list[VideoResult]:
    """Rows of all processes in the order of the list: process k of n has rows k, k + n, ..."""
    if fabric.world_size == 1:
        return results
    parts: list[list[VideoResult]] = [[] for _ in range(fabric.world_size)]
    distributed.all_gather_object(parts, results)
    merged = [VideoResult(video="", label=0, scores=(), num_views=0, views_correct=0)] * sum(map(len, parts))
    for rank, part in enumerate(parts):
        merged[rank :: fabric.world_size] = part
    return merged


def _facts(
    config: EvaluateConfig, model: InferenceModel, videos: VideoList, results: Sequence[VideoResult], *, command: str
) -> dict[str, Any]:
    trained, caveats = model.card.training, []
    if config.subset != "test":
        caveats.append(f"these are {config.subset} videos, not test videos")
    if model.run is not None and is_unfinished(model.run):
        caveats.append("the training of these weights has not ended; t3d train --resume goes on with it")
    if config.subset != "train":
        caveats.extend(overlap_warnings(model.run, trained, videos))
    return evaluation_facts(
        model,
        videos,
        results,
        dataset=(config.data or Path(trained.get("dataset", videos.root))).stem,
        subset=config.subset,
        split=_split(config, model),
        views=config.scoring.views,
        caveats=caveats,
        command=command,
        versions=versions(modality=model.card.pixels.modality),
    )


def save_results(
    folder: Path, metrics: dict[str, Any], results: Sequence[VideoResult], labels: Sequence[str], *, kind: str = "csv"
) -> None:
    """Write predictions, metrics and report into one folder, replacing older ones, and print all warnings."""
    write_predictions(folder, results, labels, kind=kind)
    report = write_report(folder, metrics, results, labels)
    for line in metrics["warnings"]:
        warn(line)
    for line in metrics["undecodable"]:
        warn(f"counted as wrong: {line}")
    log(f"report: {report}")


def show(metrics: dict[str, Any], config: EvaluateConfig) -> int:
    """Print a summary; exit code 1 if a video could not be decoded."""
    return print_headline(metrics)


def print_headline(metrics: dict[str, Any]) -> int:
    """Print the metrics in a few lines; return the exit code."""
    video, (low, high) = metrics["video"], metrics["video"]["top1_interval"]
    print(f"{metrics['dataset']['split']}: {video['num_videos']} videos, {metrics['protocol']['views']}")
    print(f"video top-1 {video['top1']:.2%} (95 % interval {low:.1%} to {high:.1%})", end="  ")
    others = [metric for name, metric in METRICS.items() if name != "top1" and metric.text(metrics)]
    by_video = [metric for metric in others if metric.section == "video"]
    print("  ".join(f"{metric.column.removeprefix('video ')} {metric.text(metrics)}" for metric in by_video))
    for metric in others:
        if metric.section == "clip":
            print(f"{metric.column} {metric.text(metrics)} ({metrics['clip']['num_clips']} clips)")
    return int(bool(metrics["undecodable"]))
