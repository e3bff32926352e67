"""What a result must say about itself: which weights, which videos, which views, which caveats."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from t3d.config import EvaluateConfig
from t3d.data.samples import VideoList
from t3d.engine.checkpoints import ModelCard, file_hash
from t3d.engine.metrics import VideoResult
from t3d.engine.opening import Opened
from t3d.engine.runs import is_unfinished, versions
from t3d.engine.trained_on import overlap_warning
from t3d.video.spec import PixelSpec, SegmentSpec

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
