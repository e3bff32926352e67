"""Evaluated runs and their comparisons as Markdown."""

import statistics
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from t3d.evaluation.metrics import METRICS
from t3d.evaluation.results import Evaluated, experiment_key
from t3d.evaluation.significance import Pair
from t3d.markdown import markdown_table

_ABOUT = ("run", "dataset", "split", "seed", "engine", "views", "videos")
"""Columns before the metrics."""


@dataclass(frozen=True, kw_only=True)
class Experiment:
    """A training and its test, with one or more repetitions that differ in split and seed."""

    name: str
    runs: Sequence[Evaluated]


def metrics_table(runs: Sequence[Evaluated]) -> str:
    """One row per run, then means of runs that differ only in split and seed."""
    rows = [_run_row(run.name, run.metrics) for run in runs]
    rows += [_mean_row(repeated) for repeated in experiments(runs) if len(repeated.runs) > 1]
    return markdown_table([*_ABOUT, *(metric.column for metric in METRICS.values())], rows)


def experiments(runs: Sequence[Evaluated]) -> list[Experiment]:
    """Group runs that differ only in split and seed; named by the network, and by the first run if ambiguous."""
    alike: dict[str, list[Evaluated]] = defaultdict(list)
    for run in runs:
        alike[experiment_key(run.metrics)].append(run)
    networks = Counter(_network(same[0]) for same in alike.values())
    return [
        Experiment(
            name=_network(same[0])[1]
            + (f", like {Path(same[0].name).name}" if networks[_network(same[0])] > 1 else ""),
            runs=same,
        )
        for same in alike.values()
    ]


def duplicates(runs: Sequence[Evaluated]) -> list[tuple[Evaluated, Evaluated]]:
    """Runs that equal an earlier one including split and seed, with that one."""
    earliest: dict[tuple[object, ...], Evaluated] = {}
    both = [(run, earliest.setdefault((experiment_key(run.metrics), *run.repetition), run)) for run in runs]
    return [(run, earlier) for run, earlier in both if run is not earlier]


def means(experiment: Experiment) -> dict[str, tuple[float, float] | None]:
    """Mean and standard deviation of each metric over the repetitions; None if a run lacks it."""
    return {
        name: _mean_and_deviation([metric.value(run.metrics) for run in experiment.runs])
        for name, metric in METRICS.items()
    }


def metrics_docs() -> str:
    """The table of metrics for the docs, as Markdown."""
    head = ("metric", "in `metrics.json`", "what it is")
    rows = [
        (metric.title, f"`{metric.section}.{metric.key}`", (metric.compute.__doc__ or "").partition("\n")[0])
        for metric in METRICS.values()
    ]
    return markdown_table(head, rows)


def _mean_and_deviation(values: Sequence[float | None]) -> tuple[float, float] | None:
    known = [value for value in values if value is not None]
    return (statistics.mean(known), statistics.stdev(known)) if len(known) == len(values) else None


def _network(run: Evaluated) -> tuple[str, str]:
    return run.metrics["dataset"]["name"], run.metrics["model"]["arch"]


def _run_row(name: str, values: Mapping[str, Any]) -> list[object]:
    about = [name, values["dataset"]["name"], values["dataset"]["split_number"], values["seed"], _engine(values)]
    about += [values["protocol"]["views"], values["video"]["num_videos"]]
    return [*about, *(metric.text(values) for metric in METRICS.values())]


def _mean_row(experiment: Experiment) -> list[object]:
    runs = [run.metrics for run in experiment.runs]
    splits = sorted({values["dataset"]["split_number"] for values in runs})
    seeds = sorted({values["seed"] for values in runs}, key=lambda seed: (str(type(seed)), seed))  # or several
    first = runs[0]
    about = [f"**mean of {len(runs)}**, {experiment.name}", first["dataset"]["name"], _listed(splits), _listed(seeds)]
    about += [_engine(first), first["protocol"]["views"], None]
    return [*about, *(_spread(METRICS[name].write, known) for name, known in means(experiment).items())]


def _engine(values: Mapping[str, Any]) -> str:
    """Engine and precision of the scores."""
    protocol = values["protocol"]
    return ", ".join(protocol[key] for key in ("engine", "precision") if protocol.get(key))


def _spread(write: str, known: tuple[float, float] | None) -> str:
    return "" if known is None else f"{write.format(known[0])} ± {write.format(known[1])}"


def _listed(values: Sequence[object]) -> str:
    return ", ".join(map(str, values))


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
_EXPERIMENTS = "A", "B", "runs", "videos", "only A", "only B", "pooled p", "B - A", "95 % over runs", "p", "Holm p", ""
_SHOWN = 5
_VERDICT = (
    "Holm p: adjusted for the number of pairs shown; a run is called better where it is below 0.05 and no interval by "
    "group holds zero. No difference shown does not mean that there is none."
)


def runs_text(pairs: Sequence[Pair]) -> str:
    """Section of runs compared one by one."""
    note = (
        "Differences of video top-1 in percentage points. 95 %: bootstrap, 10 000 draws of videos, by group of whole "
        "groups of videos that share a person or source. p: exact McNemar test."
    )
    return _section("Runs on the same videos", _RUNS, [_run_cells(pair) for pair in pairs], note)


def experiments_text(pairs: Sequence[Pair]) -> str:
    """Section of experiments compared over splits and seeds."""
    note = (
        "Differences of video top-1 in percentage points: mean over runs of the same split and seed, with Student's t. "
        "Pooled p: exact McNemar test on the videos of all runs as if each were another one, which they are not where "
        "seeds share a test."
    )
    return _section("Repeated runs on the same videos", _EXPERIMENTS, [_experiment_cells(pair) for pair in pairs], note)


def flips_text(runs: Sequence[Evaluated], rows: Sequence[Mapping[str, Any]]) -> str:
    """Number of videos that the runs of a test set disagree on, and the first few of them."""
    tested = runs[0].metrics["dataset"]
    videos = f"{len(rows)} of {len(runs[0].results)} videos"
    head = f"{tested['name']}, split {tested['split_number']}: {len(runs)} runs disagree on {videos}"
    lines = [f"- {row['video']} ({row['label']}): right in {row['num_right']} of {len(runs)}" for row in rows[:_SHOWN]]
    lines += [f"- and {len(rows) - _SHOWN} more; --flips FILE lists them"] if len(rows) > _SHOWN else []
    return "\n".join([head + ":", "", *lines]) if rows else head + "."


def _section(title: str, head: Sequence[str], rows: Sequence[Sequence[str]], note: str) -> str:
    return f"## {title}\n\n{markdown_table(head, rows)}\n\n{note} {_VERDICT}"


def _run_cells(pair: Pair) -> list[str]:
    counts = pair.counts
    numbers = counts.num_videos, counts.both, counts.only_first, counts.only_second, counts.neither
    intervals = _points(pair.interval), _points(pair.interval_by_group)
    return [*_names(pair), *map(str, numbers), _point(pair.difference), *intervals, _p(pair.p), *_end(pair)]


def _experiment_cells(pair: Pair) -> list[str]:
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
