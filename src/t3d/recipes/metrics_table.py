"""The metrics of evaluated runs as a Markdown table, with means over splits and seeds."""

import statistics
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from t3d.recipes.evaluated import Evaluated, kind

_HEAD = (
    "| run | dataset | split | seed | engine | views | videos | video top-1 | video top-5 | mean class | clip top-1 |"
)


@dataclass(frozen=True, kw_only=True)
class Kind:
    """Repetitions of one experiment."""

    name: str
    runs: Sequence[Evaluated]


def metrics_table(runs: Sequence[Evaluated]) -> str:
    """One row a run, then a mean of those that differ in nothing but split and seed."""
    lines = [_HEAD, "|" + "---|" * _HEAD.count(" | ") + "---|"]
    lines += [_row(run.name, run.metrics) for run in runs]
    lines += [_mean_row(same) for same in kinds(runs) if len(same.runs) > 1]
    return "\n".join(lines)


def kinds(runs: Sequence[Evaluated]) -> list[Kind]:
    """Runs that differ in nothing but split and seed, named by the network, and by the first of them if need be."""
    alike: dict[str, list[Evaluated]] = defaultdict(list)
    for run in runs:
        alike[kind(run.metrics)].append(run)
    networks = Counter(_network(same[0]) for same in alike.values())
    return [
        Kind(
            name=_network(same[0])[1]
            + (f", like {Path(same[0].name).name}" if networks[_network(same[0])] > 1 else ""),
            runs=same,
        )
        for same in alike.values()
    ]


def duplicates(runs: Sequence[Evaluated]) -> list[tuple[Evaluated, Evaluated]]:
    """Runs that differ not even in split and seed from an earlier one, and that one."""
    earliest: dict[tuple[object, ...], Evaluated] = {}
    both = [(run, earliest.setdefault((kind(run.metrics), *run.repetition), run)) for run in runs]
    return [(run, earlier) for run, earlier in both if run is not earlier]


def means(same: Kind) -> dict[str, tuple[float, float] | None]:
    """Mean and standard deviation of each figure over the runs of a kind; None where a run lacks it."""
    columns = {name: [run.metrics["video"][name] for run in same.runs] for name in ("top1", "top5", "mean_class")}
    columns["clip_top1"] = [run.metrics["clip"]["top1"] for run in same.runs]
    return {
        name: None if None in column else (statistics.mean(column), statistics.stdev(column))
        for name, column in columns.items()
    }


def _network(run: Evaluated) -> tuple[str, str]:
    return run.metrics["dataset"]["name"], run.metrics["model"]["arch"]


def _row(name: str, values: Mapping[str, Any]) -> str:
    video = values["video"]
    cells = [
        name,
        values["dataset"]["name"],
        values["dataset"]["split_number"],
        values["seed"],
        _engine(values),
        values["protocol"]["views"],
        video["num_videos"],
        *(_percent(value) for value in (video["top1"], video["top5"], video["mean_class"], values["clip"]["top1"])),
    ]
    return "| " + " | ".join(str(cell) for cell in cells) + " |"


def _mean_row(same: Kind) -> str:
    runs = [run.metrics for run in same.runs]
    splits = sorted({values["dataset"]["split_number"] for values in runs})
    seeds = sorted({values["seed"] for values in runs}, key=lambda seed: (str(type(seed)), seed))  # or several
    first = runs[0]
    cells = [f"**mean of {len(runs)}**, {same.name}", first["dataset"]["name"]]
    cells += [_listed(splits), _listed(seeds), _engine(first), first["protocol"]["views"], ""]
    cells += map(_spread, means(same).values())
    return "| " + " | ".join(cells) + " |"


def _engine(values: Mapping[str, Any]) -> str:
    """What computed the scores, and in which number format."""
    protocol = values["protocol"]
    return ", ".join(protocol[key] for key in ("engine", "precision") if protocol.get(key))


def _spread(known: tuple[float, float] | None) -> str:
    return "" if known is None else f"{known[0]:.2%} ± {known[1]:.2%}"


def _listed(values: Sequence[object]) -> str:
    return ", ".join(map(str, values))


def _percent(value: float | None) -> str:
    return "" if value is None else f"{value:.2%}"
