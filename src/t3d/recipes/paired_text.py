"""Pairs of runs, and the videos they disagree on, as Markdown."""

from collections.abc import Mapping, Sequence
from typing import Any

from t3d.engine.comparison import Pair
from t3d.recipes.evaluated import Evaluated

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
