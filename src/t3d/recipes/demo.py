"""The whole way in one command: render, train, evaluate, predict, report."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from t3d.config import DemoConfig, EvaluateConfig, ModelOptions, PredictConfig, TrainConfig
from t3d.presets import preset
from t3d.recipes import evaluate, predict, train
from t3d.recipes.console import say
from t3d.recipes.datasets import BUILT_IN, resolve


@dataclass(frozen=True, kw_only=True)
class DemoResult:
    """What the demo reached, and where its page lies."""

    metrics: dict[str, Any]
    report: Path


def run(config: DemoConfig, *, command: str) -> DemoResult:
    """Run the demo; see `train_config` for what differs from the quick preset."""
    folder = config.output
    train.run(train_config(config), command=command)
    metrics = evaluate.run(EvaluateConfig(weights=folder), command=command)
    videos = sorted((resolve(Path(BUILT_IN)) / "test").glob("*/0000.mp4"))
    flags = PredictConfig(weights=folder, files=tuple(videos[:3]), top=2, timeline=folder / "timeline")
    predict.show(predict.run(flags, command=command), flags)
    return DemoResult(metrics=metrics, report=folder / "report.html")


def train_config(config: DemoConfig) -> TrainConfig:
    """The quick preset without flips (they would swap left and right) on clips that hold the whole video."""
    quick = preset("quick")
    return replace(
        quick,
        data=Path(BUILT_IN),
        output=config.output,
        overwrite=True,
        model=ModelOptions(arch="t3d_tiny"),
        clip=replace(
            quick.clip, num_frames=16, frame_stride=2, order="shuffled" if config.shuffle_frames else "forward"
        ),
        augment=replace(quick.augment, flip_probability=0.0),
        run=replace(quick.run, seed=config.seed),
    )


def show(result: DemoResult, config: DemoConfig) -> int:
    """Print the headline."""
    video = result.metrics["video"]
    low, high = video["top1_interval"]
    print(
        f"video top-1 {video['top1']:.1%} (95 % interval {low:.1%} to {high:.1%}) of {video['num_videos']} test videos"
    )
    say(f"open {result.report} in a browser")
    return 0
