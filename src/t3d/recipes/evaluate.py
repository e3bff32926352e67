"""Score a trained run on labelled videos and write metrics, predictions and a report."""

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

from lightning.fabric import Fabric
from torch import distributed

from t3d.config import EvaluateConfig
from t3d.data.samples import VideoList
from t3d.data.subsets import NoSuchSubsetError
from t3d.engine.checkpoints import WEIGHTS_NAME
from t3d.engine.metrics import VideoResult, as_result, summarise
from t3d.engine.opening import Opened, open_network
from t3d.engine.report import write_predictions, write_report
from t3d.engine.scoring import score_videos
from t3d.engine.trained_on import check_held_out
from t3d.errors import ConfigError, DataError
from t3d.recipes import plan
from t3d.recipes.console import counted, say, warn
from t3d.recipes.datasets import find_videos
from t3d.recipes.description import describe
from t3d.recipes.device import launched, scoring_fabric
from t3d.recipes.folders import make_folder
from t3d.recipes.sources import video_source


def run(config: EvaluateConfig, *, command: str) -> dict[str, Any]:
    """Evaluate; returns what `metrics.json` holds."""
    options = config.scoring
    network = open_network(config.weights, engine=options.engine, precision=options.precision)
    card = network.card
    videos = _find(config, network)
    fabric = scoring_fabric(network, options, devices=config.devices)
    folder = make_folder(config.output or _own_folder(config, network))
    with launched(fabric):
        mine = videos.samples[fabric.global_rank :: fabric.world_size]
        with fabric.autocast():
            scored = score_videos(
                network.start(fabric.device),
                mine,
                card=card,
                views=options.views,
                num_workers=options.workers,
                source=video_source(card.pixels, backend=options.backend),
            )
            results = _gather([as_result(video) for video in counted(scored, "scoring", total=len(mine))], fabric)
        metrics = describe(config, network, videos, results, command=command) | summarise(results)
        if fabric.is_global_zero:
            write_results(folder, metrics, results, card.labels, kind=config.predictions)
    return metrics


def _find(config: EvaluateConfig, network: Opened) -> VideoList:
    card, trained = network.card, network.card.training
    if config.data is None and "dataset" not in trained:
        raise ConfigError(f"{config.weights}: does not say which data it was trained on; name DATA after it")
    data = config.data or Path(trained["dataset"])
    split = config.split if config.split is not None else trained.get("split", 1)
    layout = config.format or (trained.get("format") if config.data is None else None)
    find = partial(find_videos, data, split=split, format=layout)
    try:
        videos = find(subset=config.subset)
    except NoSuchSubsetError:
        if config.subset != "validation" or config.data is not None or config.split is not None:
            raise
        videos = plan.find_held_out(find(subset="train"), trained, name=str(config.weights))
        if network.run is not None:
            check_held_out(network.run, videos)
    if videos.labels != card.labels:
        raise DataError(
            f"{data}: its {len(videos.labels)} classes are not the {len(card.labels)} of {config.weights} "
            f"(first difference: {_first_difference(videos.labels, card.labels)}); give the data the run was trained on"
        )
    return videos


def _own_folder(config: EvaluateConfig, network: Opened) -> Path:
    """The run folder for test videos scored by PyTorch in float32; else one in it, not to be taken for the result.

    A file of any other name than a run's gets a folder of its own, for there may be several beside each other.
    """
    file, way = network.file, (network.engine, network.precision)
    folder = file.parent if file.name == WEIGHTS_NAME else file.with_suffix("")
    if network.export is None and way != ("torch", "float32"):
        folder = folder / "-".join(way)
    return folder if config.subset == "test" else folder / config.subset


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


def write_results(
    folder: Path, metrics: dict[str, Any], results: Sequence[VideoResult], labels: Sequence[str], *, kind: str
) -> None:
    """Write predictions, metrics and report into one folder, in place of older ones, and show every warning."""
    written = write_predictions(folder, results, labels, kind=kind)
    for stale in {"predictions.csv", "predictions.parquet"} - {written.name}:
        (folder / stale).unlink(missing_ok=True)
    report = write_report(folder, metrics, results, labels)
    for line in metrics["warnings"]:
        warn(line)
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
