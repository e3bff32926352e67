"""Classify videos, with the code of evaluation, without labels."""

import csv
import json
import os
import sys
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from t3d.commands._console import counted, log, warn
from t3d.commands._datasets import video_source
from t3d.commands._devices import scoring_fabric
from t3d.config import PredictConfig
from t3d.data.folders import VIDEO_SUFFIXES
from t3d.errors import DataError
from t3d.evaluation.timeline import write_timeline
from t3d.files import make_folder
from t3d.inference.classifier import Classifier, Prediction, as_prediction, as_sample
from t3d.inference.open import open_model
from t3d.inference.scoring import VideoScores
from t3d.models.checkpoints import ModelCard
from t3d.video.spec import ViewSpec


def run(config: PredictConfig, *, command: str) -> list[Prediction]:
    """One prediction per video, in the given order; undecodable videos have `error` set."""
    options = config.scoring
    files = _expand(config.files)
    if config.timeline is not None:
        make_folder(config.timeline)
    model = open_model(config.weights, engine=options.engine, precision=options.precision)
    fabric = scoring_fabric(model, options)
    classifier = Classifier(model.start(fabric.device), model.card)
    source = video_source(classifier.card.pixels, backend=options.backend, keep_flow=False)
    score = partial(classifier.score, source=source)
    scored = score([as_sample(path) for path in files], views=options.views, num_workers=options.workers)
    following = _following(options.views, classifier.card)
    predictions = []
    with fabric.autocast():
        for video in counted(scored, "scoring", total=len(files)):
            predictions.append(as_prediction(video, classifier.labels))
            if config.timeline is not None and not video.error:
                followed = video if following is None else next(score([video.sample], views=following))
                name = _file_name(video.sample.path, files)
                _draw(config.timeline / name, followed, labels=classifier.labels, top=config.top)
    return predictions


def _draw(path: Path, video: VideoScores, *, labels: Sequence[str], top: int) -> None:
    if video.error:  # in frames outside all segments
        warn(f"no timeline: {video.error}")
        return
    written = write_timeline(path.parent, path.name, video=video, labels=labels, top=top)
    log(f"wrote {', '.join(map(str, written))}")


def _following(views: ViewSpec, card: ModelCard) -> ViewSpec | None:
    """Views for a timeline of a network with segments: non-overlapping clips."""
    segments = card.segments.resolve(views).segments
    return None if segments is None else replace(views, segments=None, step=card.clip.span)


def show(predictions: list[Prediction], config: PredictConfig) -> int:
    """Print the predictions; exit code 1 if a video could not be decoded."""
    if config.json:
        print(json.dumps([_as_json(prediction, config.top) for prediction in predictions], indent=2))
    elif config.csv:
        writer = csv.writer(sys.stdout, lineterminator="\n")
        writer.writerow(["video", "rank", "label", "score"])
        for prediction in predictions:
            writer.writerows([prediction.video, rank, *pair] for rank, pair in enumerate(prediction.top(config.top), 1))
    else:
        _print_table(predictions, config.top)
    failures = [prediction for prediction in predictions if prediction.error]
    for failure in failures:
        print(f"t3d: error: {failure.error}", file=sys.stderr)
    return int(bool(failures))


def _expand(paths: tuple[Path, ...]) -> list[Path]:
    files: list[Path] = []
    for path in paths:
        if path.is_dir():
            inside = sorted(file for file in path.rglob("*") if file.suffix.lower() in VIDEO_SUFFIXES)
            if not inside:
                raise DataError(
                    f"{path}: no videos in this folder; known suffixes are {', '.join(sorted(VIDEO_SUFFIXES))}"
                )
            files.extend(inside)
        else:
            files.append(path)
    return files


def _file_name(path: Path, files: list[Path]) -> str:
    """The file name; with folders if another file has the same name."""
    if sum(file.name == path.name for file in files) == 1:
        return path.name
    shared = os.path.commonpath([file.parent.resolve() for file in files])
    return "-".join(path.resolve().relative_to(shared).parts)


def _as_json(prediction: Prediction, top: int) -> dict[str, Any]:
    classes = [{"label": label, "score": score} for label, score in prediction.top(top)]
    return {"video": prediction.video, "clips": prediction.num_clips, "predictions": classes, "error": prediction.error}


def _print_table(predictions: list[Prediction], top: int) -> None:
    table = Table("video", "clips", "label", "score", show_lines=top > 1)
    table.columns[0].overflow = "fold"
    for prediction in predictions:
        best = prediction.top(top)
        labels, scores = "\n".join(label for label, _ in best), "\n".join(f"{score:.1%}" for _, score in best)
        table.add_row(prediction.video, str(prediction.num_clips), labels, scores)
    Console().print(table)
