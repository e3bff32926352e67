"""From a folder of your own videos to a prediction, in Python.

    python examples/own_videos.py MY_VIDEOS RUN_FOLDER

MY_VIDEOS holds a folder of videos for each class. The same as:

    t3d train MY_VIDEOS --output RUN_FOLDER && t3d evaluate RUN_FOLDER && t3d predict RUN_FOLDER ...
"""

import sys
from dataclasses import replace
from pathlib import Path

import t3d
from t3d.commands import evaluate, train
from t3d.config import EvaluateConfig
from t3d.config.presets import preset
from t3d.data.formats import load_videos


def main(videos: Path, run: Path, *, max_steps: int | None = None) -> None:
    """Train, evaluate, and predict the first test video."""
    quick = preset("quick")
    config = replace(quick, data=videos, output=run, schedule=replace(quick.schedule, max_steps=max_steps))
    train.run(config, command=f"examples/own_videos.py {videos} {run}")
    metrics = evaluate.run(EvaluateConfig(weights=run), command=f"examples/own_videos.py {videos} {run}")
    print(f"video top-1 on test videos: {metrics['video']['top1']:.1%}")

    classifier = t3d.load(run)
    sample = load_videos(videos, subset="test").samples[0]
    print(sample.name)
    for label, score in classifier.predict(sample.path).top(3):
        print(f"  {score:.3f}  {label}")


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
