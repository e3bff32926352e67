"""Does the supervision transfer help? Scratch, inflated twin and transfer, side by side: resumable, bill first.

    python studies/transfer.py table --data PATH        # the folder of the real videos, see docs/results
    python studies/transfer.py matching --data PATH
    python studies/transfer.py remedies
    python studies/transfer.py report                   # tables of what is there, runs nothing

Every step is a command of `t3d`, as anybody would type it, in a folder of its own below `--output`. What is finished is
not run again, what was interrupted goes on. Steps of one chain follow each other; `--jobs` chains run at a time, on one
thread each, and keep the videos they have decoded in memory. Pretraining is done anew for each seed and each split, and
sees no test video.
"""

import argparse
import csv
import json
import re
import statistics
import sys
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from steps import SHAPES, Step, interval, run_all, validation_list
from study import arid6_list

RESULTS = Path(__file__).resolve().parent.parent / "docs" / "results" / "transfer"
HELP = __doc__ or ""

NETWORK = ("--arch", "t3d_tiny", "--keep-last-plane")
PIXELS = ("--resize", "48", "--crop-size", "48", "--workers", "0")
CLIPS = (*NETWORK, *PIXELS, "--num-frames", "8", "--frame-stride", "4")
SHORT = ("--epochs", "1", "--warmup-steps", "20", "--ema-decay", "0.95")
FINETUNE = (*SHORT, "--min-steps", "200")
PRETRAIN = (*SHORT, "--min-steps", "250", "--batch-size", "32")
JITTER = ("--brightness", "0.4", "--contrast", "0.4", "--saturation", "0.4", "--hue", "0.2")
RECOLOUR = ("--brightness", "0.8", "--contrast", "0.8", "--saturation", "0.9", "--hue", "0.5")
"""Any hue, and brightness from a fifth to almost twice."""
DIFFERENCES = ("--modality", "difference")
NO_FLIP = ("--flip-probability", "0")


@dataclass(frozen=True, kw_only=True)
class Chain:
    """Steps that follow each other; the last but one trains, the last one evaluates, unless only matching is asked."""

    condition: str
    arm: str
    seed: int
    split: int
    steps: tuple[Step, ...]

    @property
    def name(self) -> str:
        """Unique; the name of its results file."""
        return f"{self.condition}-{self.arm}-split{self.split}-seed{self.seed}"


@dataclass(frozen=True, kw_only=True)
class Condition:
    """Labelled videos to be named, and what may be learnt from without their labels."""

    name: str
    data: str
    splits: tuple[int, ...] = (1,)
    seeds: tuple[int, ...] = (0, 1, 2, 3, 4)
    flags: tuple[str, ...] = ()
    """For everything."""
    labels: tuple[str, ...] = ()
    """For trainings with labels."""


def table(data: Path) -> list[Chain]:
    """Three starts on four conditions, seed by seed."""
    shapes = partial(Condition, data=SHAPES, flags=NO_FLIP)
    conditions = [
        Condition(name="weizmann4", data=str(data / "weizmann4"), splits=(1, 2, 3), seeds=(0, 1, 2)),
        shapes(name="shapes-5-labels", labels=("--labels-per-class", "5")),
        shapes(name="shapes-20-labels", labels=("--labels-per-class", "20")),
        Condition(name="arid6", data=str(arid6_list(data).resolve())),
    ]
    arms = (_scratch, _twin, _transfer)
    return [
        arm(condition, split, seed)
        for seed in (0, 1, 2, 3, 4)
        for condition in conditions
        if seed in condition.seeds
        for split in condition.splits
        for arm in arms
    ]


def matching(data: Path) -> list[Chain]:
    """Matching on held-out videos, longer and with its controls; those of the table have 250 updates and no control."""
    shapes = Condition(name="matching-shapes", data=SHAPES, flags=NO_FLIP)
    arms = {
        "three-times-as-long": ("--min-steps", "750"),
        "jittered": JITTER,
        "jittered-statistics": (*JITTER, "--control", "colour-statistics"),
        "recoloured": (*RECOLOUR, "--min-steps", "750"),
        "recoloured-statistics": (*RECOLOUR, "--min-steps", "750", "--control", "colour-statistics"),
        "statistics": ("--control", "colour-statistics"),
        "shuffled-pairs": ("--control", "shuffled-pairs"),
    }
    return [_matching(shapes, arm, flags, seed) for arm, flags in arms.items() for seed in (0, 1, 2)]


def remedies(data: Path) -> list[Chain]:
    """What might make the transfer help, judged on validation videos: training videos of the built-in data only."""
    condition = Condition(
        name="validation-5-labels",
        data=str(validation_list(Path("runs/transfer-study"))),
        seeds=(0, 1, 2),
        flags=NO_FLIP,
        labels=("--labels-per-class", "5"),
    )
    pretrainings: dict[str, tuple[str, ...]] = {
        "plain": (),
        "differences": DIFFERENCES,
        "hard-negatives": ("--hard-negatives", "--frame-stride", "2"),  # two windows a video
        "jitter": JITTER,
    }
    starts: list[Callable[[int], Chain]] = [
        partial(_scratch, condition, 1),
        partial(_scratch, condition, 1, arm="scratch-differences", flags=DIFFERENCES),
        partial(_slow_start, condition, 1),
    ]
    for arm, flags in pretrainings.items():
        modality = DIFFERENCES if flags == DIFFERENCES else ()
        starts.append(partial(_transfer, condition, 1, arm=f"transfer-{arm}", pretrain=flags, finetune=modality))
    return [start(seed) for start in starts for seed in condition.seeds]


STUDIES: dict[str, Callable[[Path], list[Chain]]] = {"table": table, "matching": matching, "remedies": remedies}


def _scratch(
    condition: Condition, split: int, seed: int, *, arm: str = "scratch", flags: tuple[str, ...] = ()
) -> Chain:
    return _chain(condition, arm, split, seed, [_train(condition, arm, split, seed, *flags)])


def _twin(condition: Condition, split: int, seed: int) -> Chain:
    """Train the 2D twin on single frames with the same labels and as many updates as a transfer, then inflate it."""
    name = _folder(condition, "twin-flat", split, seed)
    flat = (*NETWORK, *PIXELS, "--twin", "--num-frames", "1", *PRETRAIN)
    where = _where(condition, split, seed)
    first = Step(verb="train", name=name, arguments=(*where, *flat, *condition.flags, *condition.labels), seconds=25)
    start = ("--init", f"@{name}", "--inflate", "centre")
    return _chain(condition, "twin", split, seed, [first, _train(condition, "twin", split, seed, *start)])


def _transfer(
    condition: Condition,
    split: int,
    seed: int,
    *,
    arm: str = "transfer",
    pretrain: tuple[str, ...] = (),
    finetune: tuple[str, ...] = (),
) -> Chain:
    """Teach without labels on all training videos, then train with labels."""
    first = _pretrain(condition, arm, split, seed, *pretrain)
    second = _train(condition, arm, split, seed, "--init", f"@{first.name}", *finetune)
    return _chain(condition, arm, split, seed, [first, second])


def _slow_start(condition: Condition, split: int, seed: int) -> Chain:
    """The plain transfer, whose lower stages then learn more slowly."""
    first = _pretrain(condition, "transfer-plain", split, seed)
    start = ("--init", f"@{first.name}", "--layer-decay", "0.6")
    arm = "transfer-slow-start"
    return _chain(condition, arm, split, seed, [first, _train(condition, arm, split, seed, *start)])


def _matching(condition: Condition, arm: str, flags: tuple[str, ...], seed: int) -> Chain:
    return Chain(
        condition=condition.name, arm=arm, seed=seed, split=1, steps=(_pretrain(condition, arm, 1, seed, *flags),)
    )


def _chain(condition: Condition, arm: str, split: int, seed: int, steps: list[Step]) -> Chain:
    evaluate = Step(verb="evaluate", name=steps[-1].name, arguments=("--workers", "0"), seconds=8)
    return Chain(condition=condition.name, arm=arm, seed=seed, split=split, steps=(*steps, evaluate))


def _train(condition: Condition, arm: str, split: int, seed: int, *flags: str) -> Step:
    where = _where(condition, split, seed)
    arguments = (*where, *CLIPS, *FINETUNE, *condition.flags, *condition.labels, *flags)
    return Step(verb="train", name=_folder(condition, arm, split, seed), arguments=arguments, seconds=60)


def _pretrain(condition: Condition, arm: str, split: int, seed: int, *flags: str) -> Step:
    """Conditions that differ in their labels only share what is learnt without labels."""
    pool = re.sub(r"-\d+-labels", "", condition.name)
    name = f"{pool}/{arm}-pretrained-split{split}-seed{seed}"
    arguments = (*_where(condition, split, seed), *CLIPS, *PRETRAIN, *condition.flags, *flags)
    return Step(verb="transfer", name=name, arguments=arguments, seconds=300 if "750" in flags else 120)


def _where(condition: Condition, split: int, seed: int) -> tuple[str, ...]:
    return (condition.data, "--split", str(split), "--seed", str(seed))


def _folder(condition: Condition, arm: str, split: int, seed: int) -> str:
    return f"{condition.name}/{arm}-split{split}-seed{seed}"


def main() -> None:
    """Print the bill, run what is missing, write one file a run and the tables."""
    parser = argparse.ArgumentParser(description=HELP, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("study", choices=[*STUDIES, "report"])
    parser.add_argument("--data", type=Path, default=Path("data"), help="folder that holds weizmann4 and arid6")
    parser.add_argument("--output", type=Path, default=Path("runs/transfer-study"))
    parser.add_argument("--jobs", type=int, default=2, help="chains at a time, one thread each")
    options = parser.parse_args()
    if options.study != "report":
        chains = STUDIES[options.study](options.data.resolve())
        run_all(chains, _row, output=options.output, results=RESULTS, jobs=options.jobs)
    print("\n".join(_tables()))


def _row(chain: Chain, output: Path) -> dict[str, object]:
    trained = [step for step in chain.steps if step.verb != "evaluate"]
    summaries = [json.loads((output / step.name / "training.json").read_text()) for step in trained]
    last = summaries[-1]
    row: dict[str, object] = {
        "condition": chain.condition,
        "arm": chain.arm,
        "split": chain.split,
        "seed": chain.seed,
        "arch": "t3d_tiny",
        "commands": [
            f"t3d {step.verb} " + " ".join(re.sub(r"^/.*/", "", part) for part in step.arguments) for step in trained
        ],
        "steps": [summary["steps"] for summary in summaries],
        "seconds": [summary["seconds"] for summary in summaries],
        "checkpoint_sha256": last["checkpoint_sha256"],
    }
    if trained[0].verb == "transfer":
        keys = ("train_matching", "held_out_matching", "held_out_clips", "clips", "teacher")
        row["transfer"] = {key: summaries[0][key] for key in keys}
    if chain.steps[-1].verb != "evaluate":
        return row | {"result": last["held_out_matching"]}
    metrics = json.loads((output / trained[-1].name / "metrics.json").read_text())
    return row | {
        **_twins(output / trained[-1].name / "predictions.csv"),
        "video": metrics["video"],
        "train_top1": last["train_top1"],
        "epochs": last["epochs"],
        "epochs_to_80_percent": _epochs_to(0.8, output / trained[-1].name / "log.csv"),
        "result": metrics["video"]["top1"],
    }


def _twins(predictions: Path) -> dict[str, float]:
    """Of the built-in data: how often the event is right whatever its direction, and how often then its direction."""
    from t3d.data.shape_frames import SHAPE_PAIRS

    pairs = {action: pair for pair in SHAPE_PAIRS for action in pair}
    with predictions.open(newline="") as file:
        rows = list(csv.DictReader(file))
    if rows[0]["label"] not in pairs:
        return {}
    event = [row for row in rows if pairs[row["label"]] == pairs[row["predicted"]]]
    directed = sum(row["label"] == row["predicted"] for row in event)
    return {"event_top1": len(event) / len(rows), "direction_top1_where_event_is_right": directed / len(event)}


def _epochs_to(share: float, log: Path) -> int:
    """First epoch whose training top-1 reaches this share of the last epoch's."""
    with log.open() as file:
        values = [float(row["train_top1"]) for row in csv.DictReader(file)]
    return next(number for number, value in enumerate(values, start=1) if value >= share * values[-1])


def _tables() -> list[str]:
    rows = [json.loads(path.read_text()) for path in sorted(RESULTS.glob("*.json"))]
    groups: dict[tuple[str, str], list[dict[str, object]]] = defaultdict(list)
    for row in rows:
        groups[row["condition"], row["arm"]].append(row)
    head = [
        "condition",
        "start",
        "runs",
        "mean",
        "95 % interval",
        "updates",
        "seconds",
        "epochs to 80 %",
        "matching held out",
        "event",
        "direction",
    ]
    lines = ["| " + " | ".join(head) + " |", "|---|---|---:|---:|---|---|---|---:|---:|---:|---:|"]
    return lines + [_line(condition, arm, group) for (condition, arm), group in groups.items()]


def _line(condition: str, arm: str, rows: list[dict[str, object]]) -> str:
    results = [float(str(row["result"])) for row in rows]
    epochs = [float(str(row["epochs_to_80_percent"])) / float(str(row["epochs"])) for row in rows if "epochs" in row]
    held_out = [row["transfer"]["held_out_matching"] for row in rows if "transfer" in row]  # type: ignore[index]
    cells = [
        *(condition, arm, str(len(rows)), f"{statistics.mean(results):.1%}", interval(results)),
        " + ".join(map(str, rows[0]["steps"])),  # type: ignore[call-overload]
        " + ".join(f"{statistics.mean(column):.0f}" for column in zip(*(row["seconds"] for row in rows), strict=True)),  # type: ignore[misc]
        f"{statistics.mean(epochs):.0%} of all" if epochs else "",
        f"{statistics.mean(held_out):.1%}" if held_out else "",
        _mean(rows, "event_top1"),
        _mean(rows, "direction_top1_where_event_is_right"),
    ]
    return "| " + " | ".join(cells) + " |"


def _mean(rows: list[dict[str, object]], key: str) -> str:
    values = [float(str(row[key])) for row in rows if key in row]
    return f"{statistics.mean(values):.1%}" if values else ""


if __name__ == "__main__":
    sys.exit(main())
