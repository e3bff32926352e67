"""Score a trained run on labelled videos and write metrics, predictions and a report."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

from lightning_fabric import Fabric
from torch import distributed

from t3d.commands._console import counted, say, warn
from t3d.commands._datasets import find_videos, video_source
from t3d.commands._devices import launched, scoring_fabric
from t3d.commands._output import make_folder
from t3d.config import EvaluateConfig
from t3d.data.samples import NoSuchSubsetError, VideoList
from t3d.data.splits import find_held_out
from t3d.data.trained_on import check_held_out, overlap_warning
from t3d.errors import ConfigError, DataError
from t3d.evaluation.metrics import VideoResult, as_result, summarise
from t3d.evaluation.report import write_predictions, write_report
from t3d.inference.open import Opened, open_network
from t3d.inference.scoring import score_videos
from t3d.models.checkpoints import ModelCard, file_hash
from t3d.run_files import WEIGHTS_NAME, is_unfinished, versions
from t3d.video.spec import PixelSpec, SegmentSpec


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
        videos = find_held_out(find(subset="train"), trained, name=str(config.weights))
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


SCHEMA_VERSION = 1


def describe(
    config: EvaluateConfig, network: Opened, videos: VideoList, results: Sequence[VideoResult], *, command: str
) -> dict[str, Any]:
    """What `metrics.json` holds beside the figures."""
    card, trained = network.card, network.card.training
    caveats = list(trained.get("caveats", []))
    if config.subset != "test":
        caveats.append(f"these are {config.subset} videos, not test videos")
    if network.run is not None and is_unfinished(network.run):
        caveats.append("the training of these weights has not ended; t3d train --resume goes on with it")
    if config.subset != "train":
        caveats.extend(_overlaps(network.run, trained, videos))
    return {
        "schema_version": SCHEMA_VERSION,
        "model": {"arch": card.arch, "overrides": dict(card.overrides), "num_classes": len(card.labels)},
        "dataset": {
            "name": (config.data or Path(trained.get("dataset", videos.root))).stem,
            "root": str(videos.root),
            "format": videos.format,
            "subset": config.subset,
            "split_number": config.split if config.split is not None else trained.get("split", 1),
            "split": videos.split,
            "missing": [str(path) for path in videos.missing],
        },
        "protocol": _protocol(config, network),
        "selection": _selection(trained.get("select_on")),
        "seed": trained.get("seed", "not known"),
        "training": {key: trained.get(key) for key in ("command", "preset", "lineage")},
        "checkpoint": {"file": str(network.file), "sha256": file_hash(network.file)},
        **({} if network.export is None else {"export": asdict(network.export)}),
        "command": command,
        "warnings": [*caveats, *videos.warnings],
        "undecodable": [result.error for result in results if result.error],
        "versions": versions(modality=card.pixels.modality),
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
    }


def _protocol(config: EvaluateConfig, network: Opened) -> dict[str, Any]:
    """How a video became scores."""
    card = network.card
    return {
        "views": _views(config, card),
        "num_frames": card.clip.num_frames,
        "frame_stride": card.clip.frame_stride,
        "order": card.clip.order,
        "resize": card.pixels.resize,
        "crop_size": card.pixels.crop_size,
        "modality": card.pixels.modality,
        **_flow(card.pixels),
        "engine": network.engine,
        "precision": network.precision,
        "averaged": _averaged(card.segments),
    }


def _flow(pixels: PixelSpec) -> dict[str, Any]:
    """How flow was found, where it is what the network saw."""
    return {name: getattr(pixels, name) for name in ("flow_method", "flow_bound") if pixels.modality == "flow"}


def _selection(select_on: str | None) -> str:
    if select_on is None:
        return "not known"  # others trained these weights
    return "last epoch" if select_on == "none" else f"best epoch on {select_on} videos"


def _views(config: EvaluateConfig, card: ModelCard) -> str:
    views = card.segments.resolve(config.scoring.views)
    return f"{views}, {card.segments.rule} of logits" if card.segments.enabled else str(views)


def _averaged(segments: SegmentSpec) -> str:
    if segments.enabled:
        return f"softmax of the {segments.rule} of the logits of all views of a video; learnt with {segments.segments}"
    return "softmax scores of all views of a video"


def _overlaps(folder: Path | None, trained: Mapping[str, Any], videos: VideoList) -> list[str]:
    """What the run itself, where it is known, and the runs its weights came from, have seen of the videos."""
    ancestors = [Path(ancestor["file"]).parent for ancestor in trained.get("lineage", [])]
    own = "" if folder is None else overlap_warning(folder, videos)
    inherited = [
        f"{ancestor}, from which these weights come: {warning}"
        for ancestor in dict.fromkeys(ancestors)
        if (warning := overlap_warning(ancestor, videos))
    ]
    return [own, *inherited] if own else inherited
