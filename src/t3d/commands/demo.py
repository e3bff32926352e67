"""All steps in one command: render, train, evaluate, predict, report."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from torch import Tensor

from t3d.commands import evaluate, predict, train
from t3d.commands._console import log
from t3d.commands._datasets import BUILT_IN, resolve
from t3d.config import DemoConfig, EvaluateConfig, PredictConfig, TrainConfig
from t3d.config.presets import preset
from t3d.files import make_folder
from t3d.video.decode import open_video
from t3d.video.encode import write_video


@dataclass(frozen=True, kw_only=True)
class DemoResult:
    """Metrics of the demo, and path of its report."""

    metrics: dict[str, Any]
    report: Path


def run(config: DemoConfig, *, command: str) -> DemoResult:
    """Train on the built-in videos, evaluate, and write a timeline of a long video made of six test videos."""
    folder = make_folder(config.output)
    videos = sorted((resolve(Path(BUILT_IN)) / "test").glob("*/0002.mp4"))  # one a class, events as long as the video
    train.run(train_config(config), command=command)
    metrics = evaluate.run(EvaluateConfig(weights=folder), command=command)
    long_video = folder / "six-events.mp4"
    write_video(long_video, _one_after_the_other(videos[::2]), crf=6)
    for flags in (
        PredictConfig(weights=folder, files=tuple(videos[1::2]), top=2),
        PredictConfig(weights=folder, files=(long_video,), top=6, timeline=folder / "timeline"),
    ):
        predict.show(predict.run(flags, command=command), flags)
    return DemoResult(metrics=metrics, report=folder / "report.html")


def train_config(config: DemoConfig) -> TrainConfig:
    """The quick preset without flips, which would swap left and right."""
    quick = preset("quick")
    return replace(
        quick,
        data=Path(BUILT_IN),
        output=config.output,
        overwrite=True,
        clip=replace(quick.clip, order="shuffled" if config.shuffle_frames else "forward"),
        augment=replace(quick.augment, flip_probability=0.0),
        run=replace(quick.run, seed=config.seed),
    )


def show(result: DemoResult, config: DemoConfig) -> int:
    """Print the summary."""
    video = result.metrics["video"]
    low, high = video["top1_interval"]
    print(
        f"video top-1 {video['top1']:.1%} (95 % interval {low:.1%} to {high:.1%}) of {video['num_videos']} test videos"
    )
    log(f"open {result.report} in a browser")
    return 0


def _one_after_the_other(paths: Sequence[Path]) -> Iterator[Tensor]:
    for path in paths:
        with open_video(path) as video:
            yield from video.frames(range(len(video)))
