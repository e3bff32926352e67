"""Tabulate evaluated runs, and test whether runs on the same videos differ by more than chance."""

import json
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from itertools import chain
from pathlib import Path
from typing import Any

from t3d.commands._console import warn
from t3d.config import CompareConfig
from t3d.evaluation.comparison import by_test_set, flips, pairs_of_experiments, pairs_of_runs, write_flips
from t3d.evaluation.results import Evaluated, read_evaluated
from t3d.evaluation.significance import Pair, adjusted
from t3d.evaluation.tables import (
    duplicates,
    experiments,
    experiments_text,
    flips_text,
    means,
    metrics_table,
    runs_text,
)
from t3d.files import make_folder, write_text


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """Comparison of runs on the same videos."""

    runs: Sequence[Pair]
    experiments: Sequence[Pair]
    """Of those that were repeated."""
    flips: Sequence[Sequence[dict[str, Any]]]
    """For each test set, the videos its runs disagree on."""
    warnings: Sequence[str]


def run(config: CompareConfig) -> str:
    """Compare runs; return the tables as Markdown, and write the requested files.

    Folders without an evaluation, such as those of transfers, are left out with a warning.

    Raises:
        CheckpointError: A file of an evaluation cannot be read, or no folder has one.
    """
    for file in filter(None, (config.output, config.json, config.flips)):
        make_folder(file.parent)
    runs = _read(config.runs)
    sets, warnings = by_test_set(runs) if len(runs) > 1 else ([], [])
    comparison = _compare(sets, baseline=None if config.baseline is None else str(config.baseline))
    for line in (*warnings, *comparison.warnings):
        warn(line)
    text = "\n\n".join([metrics_table(runs), *_sections(sets, comparison)])
    if config.output is not None:
        write_text(config.output, text + "\n")
    if config.json is not None:
        write_text(config.json, json.dumps(_figures(runs, comparison), indent=2) + "\n")
    if config.flips is not None:
        write_flips(config.flips, list(chain.from_iterable(comparison.flips)))
    return text


def show(text: str, config: CompareConfig) -> int:
    """Print the tables."""
    print(text)
    return 0


def _read(paths: Sequence[Path]) -> list[Evaluated]:
    evaluated = [path for path in paths if not path.is_dir() or (path / "metrics.json").exists()]
    for path in paths:
        if path not in evaluated and evaluated:
            warn(f"{path}: no metrics, left out; t3d evaluate {path} makes them")
    runs = [read_evaluated(path) for path in evaluated or paths]
    for run, earlier in duplicates(runs):
        same = f"{run.name}: like {earlier.name} in everything, split and seed too"
        warn(f"{same}, so both count in a mean, and repeated runs are compared by {earlier.name} alone")
    return runs


def _compare(sets: Sequence[Sequence[Evaluated]], *, baseline: str | None) -> Comparison:
    """Compare repeated runs as experiments, and the others one by one."""
    datasets: dict[str, list[Sequence[Evaluated]]] = defaultdict(list)
    for same in sets:
        datasets[same[0].metrics["dataset"]["name"]].append(same)
    of_runs: list[Pair] = []
    of_experiments: list[Pair] = []
    warnings: list[str] = []
    for its_sets in datasets.values():
        repeated, settled = pairs_of_experiments([run for same in its_sets for run in same], baseline)
        of_experiments += repeated
        for same in its_sets:
            pairs, lines = pairs_of_runs(same, baseline, settled=settled)
            of_runs += pairs
            warnings += lines
    return Comparison(
        runs=adjusted(of_runs),
        experiments=adjusted(of_experiments),
        flips=[list(flips(same)) for same in sets],
        warnings=warnings,
    )


def _sections(sets: Sequence[Sequence[Evaluated]], comparison: Comparison) -> list[str]:
    parts = [experiments_text(comparison.experiments)] if comparison.experiments else []
    parts += [runs_text(comparison.runs)] if comparison.runs else []
    return parts + [flips_text(same, rows) for same, rows in zip(sets, comparison.flips, strict=True)]


def _figures(runs: Sequence[Evaluated], comparison: Comparison) -> dict[str, Any]:
    keys = "dataset", "seed", "protocol", "model", "video", "clip"
    return {
        "runs": [{"run": run.name} | {key: run.metrics[key] for key in keys} for run in runs],
        "means": [
            {"kind": each.name, "runs": [run.name for run in each.runs], "mean_and_deviation": means(each)}
            for each in experiments(runs)
            if len(each.runs) > 1
        ],
        "pairs_of_runs": [_pair(pair) for pair in comparison.runs],
        "pairs_of_kinds": [_pair(pair) for pair in comparison.experiments],
        "num_flips": [len(rows) for rows in comparison.flips],
    }


def _pair(pair: Pair) -> dict[str, Any]:
    return asdict(pair) | {"difference": pair.difference, "verdict": pair.verdict}
