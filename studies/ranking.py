"""Which of the networks learns most at one small budget? Families with and without TTL, TSN on and off.

    python studies/ranking.py tune                      # the learning rate of each, on validation videos
    python studies/ranking.py rank --data PATH          # the folder of the real videos, see docs/results
    python studies/ranking.py longer                    # four times as long on the built-in data
    python studies/ranking.py segments --data PATH
    python studies/ranking.py report                    # tables of what is there, runs nothing

Every step is a command of `t3d`, as anybody would type it. All networks have about half a million parameters, see the
same clips, make the same number of updates on the same batches, and differ in nothing but the learning rate, which is
the best of four on validation videos of the built-in data with one seed and half the updates.
"""

import argparse
import json
import re
import statistics
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from steps import SHAPES, Step, interval, run_all, validation_list

from t3d.evaluation.significance import t_test

RESULTS = Path(__file__).resolve().parent.parent / "docs" / "results" / "ranking"
HELP = __doc__ or ""

ARMS = {
    "c3d_tiny": (),
    "resnet3d_tiny": (),
    "resnet3d_tiny_ttl": ("--keep-last-plane",),
    "inception3d_tiny": (),
    "inception3d_tiny_ttl": ("--keep-last-plane",),
    "densenet3d_tiny": ("--keep-last-plane",),
    "t3d_tiny": ("--keep-last-plane",),
}
"""Networks, and what lets them see clips of eight frames."""
PAIRS = {
    "resnet3d_tiny": "resnet3d_tiny_ttl",
    "inception3d_tiny": "inception3d_tiny_ttl",
    "densenet3d_tiny": "t3d_tiny",
    "one-clip": "three-segments",
    "batch-48": "three-segments",
}
"""Arms that differ in one thing."""
RATES = ("0.003", "0.01", "0.03", "0.1")
CLIPS = ("--resize", "48", "--crop-size", "48", "--num-frames", "8", "--workers", "0")
BUDGET = ("--epochs", "1", "--warmup-steps", "20", "--ema-decay", "0.95")
UPDATES = {SHAPES: 300, "weizmann4": 150}
STRIDE = ("--frame-stride", "4")


@dataclass(frozen=True, kw_only=True)
class Run:
    """A training and its evaluation."""

    study: str
    dataset: str
    arm: str
    """What is compared."""
    arch: str
    split: int
    seed: int
    flags: tuple[str, ...]
    data: str
    seconds: float

    @property
    def name(self) -> str:
        """Unique; the name of its results file."""
        return f"{self.study}-{self.dataset}-{self.arm}-split{self.split}-seed{self.seed}"

    @property
    def steps(self) -> tuple[Step, ...]:
        """Train, evaluate."""
        where = (self.data, "--arch", self.arch, "--split", str(self.split), "--seed", str(self.seed))
        train = Step(verb="train", name=self.name, arguments=(*where, *self.flags), seconds=self.seconds)
        return train, Step(verb="evaluate", name=self.name, arguments=("--workers", "0"), seconds=8)


def tune(data: Path, output: Path) -> list[Run]:
    """Four learning rates a network, judged on videos that no other run is tested on."""
    videos = validation_list(output)
    return [
        Run(
            study="tune",
            dataset=SHAPES,
            arm=f"{arch}-lr{rate}",
            arch=arch,
            split=1,
            seed=0,
            flags=_flags(SHAPES, arch, rate, updates=UPDATES[SHAPES] // 2),
            data=str(videos.resolve()),
            seconds=60,
        )
        for arch in ARMS
        for rate in RATES
    ]


def rank(data: Path, output: Path) -> list[Run]:
    """Six seeds each; on weizmann4 each of the three person-disjoint splits has two of them."""
    return [
        _ranked("rank", dataset, arch, seed=seed, data=data, updates=UPDATES[dataset])
        for seed in range(6)
        for dataset in UPDATES
        for arch in ARMS
    ]


def longer(data: Path, output: Path) -> list[Run]:
    """Four times the updates on the built-in data, with and without transitions: does the order hold?"""
    updates = 4 * UPDATES[SHAPES]
    arms = ("densenet3d_tiny", "t3d_tiny", "resnet3d_tiny", "resnet3d_tiny_ttl")
    return [
        _ranked("longer", SHAPES, arch, seed=seed, data=data, updates=updates) for seed in range(3) for arch in arms
    ]


def _ranked(study: str, dataset: str, arch: str, *, seed: int, data: Path, updates: int) -> Run:
    where, split = _where(dataset, data, seed)
    return Run(
        study=study,
        dataset=dataset,
        arm=arch,
        arch=arch,
        split=split,
        seed=seed,
        flags=_flags(dataset, arch, _best_rate(arch), updates=updates),
        data=where,
        seconds=updates / 5,
    )


def _where(dataset: str, data: Path, seed: int) -> tuple[str, int]:
    """What to type for a dataset, and the split that belongs to a seed."""
    return (SHAPES, 1) if dataset == SHAPES else (str(data / dataset), seed % 3 + 1)


def segments(data: Path, output: Path) -> list[Run]:
    """T3D with one clip a video, with three segments, and with one clip of each of three times as many videos.

    Within a clip all see every frame. The third arm has as many clips in an update as the second.
    """
    arch = "t3d_tiny"
    arms = {"one-clip": (), "three-segments": ("--segments", "3"), "batch-48": ("--batch-size", "48")}
    runs = []
    for seed in range(4):
        for dataset in UPDATES:
            where, split = _where(dataset, data, seed)
            flags = _flags(dataset, arch, _best_rate(arch), updates=UPDATES[dataset], stride=1)
            for arm, more in arms.items():
                run = Run(
                    study="segments",
                    dataset=dataset,
                    arm=arm,
                    arch=arch,
                    split=split,
                    seed=seed,
                    flags=(*flags, *more),
                    data=where,
                    seconds=UPDATES[dataset] / 5 * (3 if more else 1),
                )
                runs.append(run)
    return runs


STUDIES: dict[str, Callable[[Path, Path], list[Run]]] = {
    "tune": tune,
    "rank": rank,
    "longer": longer,
    "segments": segments,
}


def _flags(dataset: str, arch: str, rate: str, *, updates: int, stride: int = 4) -> tuple[str, ...]:
    flip = ("--flip-probability", "0") if dataset == SHAPES else ()
    clips = (*CLIPS, "--frame-stride", str(stride))
    return (*clips, *ARMS[arch], *BUDGET, "--min-steps", str(updates), "--lr", rate, *flip)


def _best_rate(arch: str) -> str:
    files = {rate: RESULTS / f"tune-{SHAPES}-{arch}-lr{rate}-split1-seed0.json" for rate in RATES}
    results = {rate: json.loads(file.read_text())["result"] for rate, file in files.items()}
    return max(results, key=lambda rate: results[rate])


def main() -> None:
    """Print the bill, run what is missing, write one file a run and the tables."""
    parser = argparse.ArgumentParser(description=HELP, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("study", choices=[*STUDIES, "report"])
    parser.add_argument("--data", type=Path, default=Path("data"), help="folder that holds weizmann4")
    parser.add_argument("--output", type=Path, default=Path("runs/ranking"))
    parser.add_argument("--jobs", type=int, default=2, help="runs at a time, one thread each")
    options = parser.parse_args()
    if options.study != "report":
        runs = STUDIES[options.study](options.data.resolve(), options.output)
        run_all(runs, _row, output=options.output, results=RESULTS, jobs=options.jobs)
    print("\n".join(_tables()))


def _row(run: Run, output: Path) -> dict[str, object]:
    training = json.loads((output / run.name / "training.json").read_text())
    metrics = json.loads((output / run.name / "metrics.json").read_text())
    return {
        "study": run.study,
        "dataset": run.dataset,
        "arm": run.arm,
        "arch": run.arch,
        "split": run.split,
        "seed": run.seed,
        "command": "t3d train " + " ".join(re.sub(r"^/.*/", "", part) for part in run.steps[0].arguments),
        "steps": training["steps"],
        "epochs": training["epochs"],
        "seconds": training["seconds"],
        "train_top1": training["train_top1"],
        "checkpoint_sha256": training["checkpoint_sha256"],
        "views": metrics["protocol"]["views"],
        "video": metrics["video"],
        "result": metrics["video"]["top1"],
    }


def _tables() -> list[str]:
    rows = [json.loads(path.read_text()) for path in sorted(RESULTS.glob("*.json"))]
    groups: dict[tuple[str, str, str], list[dict[str, Any]]] = defaultdict(list)
    for row in rows:
        groups[row["study"], row["dataset"], row["arm"]].append(row)
    lines = ["| study | dataset | arm | runs | video top-1, mean | 95 % interval | each | training clips | seconds |"]
    lines.append("|---|---|---|---:|---:|---|---|---:|---:|")
    ordered = sorted(groups.items(), key=lambda item: (*item[0][:2], -_mean(item[1], "result")))
    return [*lines, *(_line(*names, group) for names, group in ordered), "", *_differences(groups)]


def _line(study: str, dataset: str, arm: str, rows: list[dict[str, Any]]) -> str:
    results = [row["result"] for row in rows]
    cells = [
        *(study, dataset, arm, str(len(rows)), f"{_mean(rows, 'result'):.1%}", interval(results)),
        ", ".join(f"{result:.1%}" for result in results),
        f"{_mean(rows, 'train_top1'):.1%}",
        f"{_mean(rows, 'seconds'):.0f}",
    ]
    return "| " + " | ".join(cells) + " |"


def _differences(groups: dict[tuple[str, str, str], list[dict[str, Any]]]) -> list[str]:
    """Run by run: equal seeds share the order of videos and the clips."""
    lines = [
        "| study | dataset | A | B | runs | B - A, points | 95 % interval | p |",
        "|---|---|---|---|---:|---:|---|---:|",
    ]
    for (study, dataset, arm), rows in groups.items():
        others = {row["seed"]: row for row in groups.get((study, dataset, PAIRS.get(arm, "")), [])}
        gains = [100 * (others[row["seed"]]["result"] - row["result"]) for row in rows if row["seed"] in others]
        if len(gains) > 1:
            shown = t_test(gains)
            low, high = shown.interval or (shown.mean, shown.mean)
            figures = f"{len(gains)} | {shown.mean:+.1f} | {low:+.1f} to {high:+.1f} | {shown.p:.3f}"
            lines.append(f"| {study} | {dataset} | {arm} | {PAIRS[arm]} | {figures} |")
    return lines


def _mean(rows: list[dict[str, Any]], key: str) -> float:
    return statistics.mean(row[key] for row in rows)


if __name__ == "__main__":
    main()
