"""Evaluated runs and their comparisons as Markdown."""

import statistics
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from t3d.evaluation.results import Evaluated, kind
from t3d.evaluation.significance import Pair

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


_RUNS = (
    "A",
    "B",
    "videos",
    "both right",
    "only A",
    "only B",
    "none",
    "B - A",
    "95 %",
    "95 % by group",
    "p",
    "Holm p",
    "",
)
_KINDS = "A", "B", "runs", "videos", "only A", "only B", "pooled p", "B - A", "95 % over runs", "p", "Holm p", ""
_SHOWN = 5
_VERDICT = (
    "Holm p: adjusted for the number of pairs shown; a run is called better where it is below 0.05 and no interval by "
    "group holds zero. No difference shown does not mean that there is none."
)


def runs_text(pairs: Sequence[Pair]) -> str:
    """Runs that were tested once."""
    note = (
        "Differences of video top-1 in percentage points. 95 %: bootstrap, 10 000 draws of videos, by group of whole "
        "groups of videos that share a person or source. p: exact McNemar test."
    )
    return _section("Runs on the same videos", _RUNS, [_run_cells(pair) for pair in pairs], note)


def kinds_text(pairs: Sequence[Pair]) -> str:
    """Experiments that were repeated with several splits or seeds."""
    note = (
        "Differences of video top-1 in percentage points: mean over runs of the same split and seed, with Student's t. "
        "Pooled p: exact McNemar test on the videos of all runs as if each were another one, which they are not where "
        "seeds share a test."
    )
    return _section("Repeated runs on the same videos", _KINDS, [_kind_cells(pair) for pair in pairs], note)


def flips_text(runs: Sequence[Evaluated], rows: Sequence[Mapping[str, Any]]) -> str:
    """How many videos of a test set its runs disagree on, and the first few of them."""
    tested = runs[0].metrics["dataset"]
    videos = f"{len(rows)} of {len(runs[0].results)} videos"
    head = f"{tested['name']}, split {tested['split_number']}: {len(runs)} runs disagree on {videos}"
    lines = [f"- {row['video']} ({row['label']}): right in {row['num_right']} of {len(runs)}" for row in rows[:_SHOWN]]
    lines += [f"- and {len(rows) - _SHOWN} more; --flips FILE lists them"] if len(rows) > _SHOWN else []
    return "\n".join([head + ":", "", *lines]) if rows else head + "."


def _section(title: str, head: Sequence[str], rows: Sequence[Sequence[str]], note: str) -> str:
    lines = [head, ["---"] * len(head), *rows]
    table = "\n".join("| " + " | ".join(cells) + " |" for cells in lines)
    return f"## {title}\n\n{table}\n\n{note} {_VERDICT}"


def _run_cells(pair: Pair) -> list[str]:
    counts = pair.counts
    numbers = counts.num_videos, counts.both, counts.only_first, counts.only_second, counts.neither
    intervals = _points(pair.interval), _points(pair.interval_by_group)
    return [*_names(pair), *map(str, numbers), _point(pair.difference), *intervals, _p(pair.p), *_end(pair)]


def _kind_cells(pair: Pair) -> list[str]:
    counts = pair.counts
    numbers = pair.num_runs, counts.num_videos, counts.only_first, counts.only_second
    difference = _point(pair.difference), _points(pair.interval), _p(pair.p)
    return [*_names(pair), *map(str, numbers), _p(pair.p_mcnemar), *difference, *_end(pair)]


def _names(pair: Pair) -> tuple[str, str]:
    return pair.first, pair.second


def _end(pair: Pair) -> tuple[str, str]:
    verdict = {"first better": "A better", "second better": "B better"}
    return _p(pair.p_holm), verdict.get(pair.verdict, pair.verdict)


def _point(fraction: float) -> str:
    return f"{100 * fraction:+.2f}"


def _points(interval: tuple[float, float] | None) -> str:
    return "" if interval is None else f"{_point(interval[0])} to {_point(interval[1])}"


def _p(value: float) -> str:
    return "< 0.0001" if value < 0.0001 else f"{value:.4f}"
