"""Choose pairs of runs to compare video by video, and list the videos they disagree on."""

from collections import defaultdict
from collections.abc import Callable, Collection, Hashable, Iterable, Iterator, Mapping, Sequence
from functools import partial
from itertools import combinations
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from t3d.data.formats import load_videos
from t3d.data.samples import NoSuchSubsetError, VideoList
from t3d.errors import DataError
from t3d.evaluation.results import Evaluated
from t3d.evaluation.significance import Pair, compare_experiments, compare_runs
from t3d.evaluation.tables import Experiment, experiments
from t3d.files import write_csv, write_text

Item = TypeVar("Item")
_MOST_FOR_ALL_PAIRS = 4
"""Up to this number of runs, all pairs are compared; of more, each with the first only."""


def by_test_set(runs: Iterable[Evaluated]) -> tuple[list[list[Evaluated]], list[str]]:
    """Group runs by the videos they were tested on.

    Returns:
        Groups of at least two runs, and a warning for runs without predictions or on other videos.
    """
    sets: dict[Hashable, list[Evaluated]] = defaultdict(list)
    warnings = []
    for run in runs:
        if run.results:
            sets[run.test_set()].append(run)
        else:
            warnings.append(
                f"{run.name}: no predictions, so not compared video by video; t3d evaluate {run.name} makes them"
            )
    alone = [same[0].name for same in sets.values() if len(same) == 1]
    if alone:
        names = ", ".join(alone)
        warnings.append(f"tested on videos that no other run was tested on, so not compared video by video: {names}")
    return [same for same in sets.values() if len(same) > 1], warnings


def pairs_of_runs(
    runs: Sequence[Evaluated], baseline: str | None, *, settled: Collection[str] = ()
) -> tuple[list[Pair], list[str]]:
    """Compare pairs of runs of one test set, unless both are compared as repetitions.

    Returns:
        One row per pair, and a warning if the groups of the videos are no longer known.
    """
    chosen = _chosen(runs, lambda run: run.name == baseline)
    wanted = [pair for pair in chosen if not all(run.name in settled for run in pair)]
    if not wanted:
        return [], []
    videos = sorted(runs[0].results)
    groups, warnings = _groups_of(runs[0])
    pairs = [
        compare_runs(
            (first.name, second.name),
            (first.right(videos), second.right(videos)),
            None if groups is None else [groups[video] for video in videos],
            generator=np.random.default_rng(0),
        )
        for first, second in wanted
    ]
    return pairs, warnings


def pairs_of_experiments(runs: Sequence[Evaluated], baseline: str | None) -> tuple[list[Pair], set[str]]:
    """Compare pairs of experiments that were repeated with the same splits and seeds.

    Returns:
        One row per pair, and the names of all their runs.
    """
    chosen = _chosen(experiments(runs), lambda experiment: any(run.name == baseline for run in experiment.runs))
    matches = [(both, right) for both in chosen if len(right := _matched(*both)) > 1]
    pairs = [compare_experiments((first.name, second.name), right) for (first, second), right in matches]
    return pairs, {run.name for both, _ in matches for experiment in both for run in experiment.runs}


def _chosen(items: Sequence[Item], is_baseline: Callable[[Item], bool]) -> list[tuple[Item, Item]]:
    baseline = next((item for item in items if is_baseline(item)), None)
    if baseline is None and len(items) <= _MOST_FOR_ALL_PAIRS:
        return list(combinations(items, 2))
    first = items[0] if baseline is None else baseline
    return [(first, item) for item in items if item is not first]


def _matched(first: Experiment, second: Experiment) -> list[tuple[list[bool], list[bool]]]:
    """Correctness in runs of the same split, seed and videos; of duplicates, in the first."""
    ours, theirs = _repetitions(first), _repetitions(second)
    both = [(run, theirs[key]) for key, run in ours.items() if key in theirs]
    return [(one.right(sorted(one.results)), other.right(sorted(one.results))) for one, other in both]


def _repetitions(experiment: Experiment) -> dict[Hashable, Evaluated]:
    earliest: dict[Hashable, Evaluated] = {}
    for run in experiment.runs:
        earliest.setdefault((run.repetition, run.test_set()), run)
    return earliest


def _groups_of(run: Evaluated) -> tuple[dict[str, str] | None, list[str]]:
    """Group of each video, such as a person; None if no two videos share one, or, with a warning, if unknown."""
    named = run.metrics["dataset"]
    root = Path(named.get("root") or ".")
    lists = [root / f"{named['name']}{suffix}" for suffix in (".csv", ".parquet")]
    data = next((file for file in lists if file.exists()), root)
    try:
        videos = _load(data, named)
    except (DataError, KeyError):
        return None, [f"{data}: not there as it was tested, so videos are taken to be independent of each other"]
    groups = {sample.name: sample.group for sample in videos.samples if sample.name in run.results}
    shared = len(groups) == len(run.results) > len(set(groups.values()))
    return groups if shared else None, []


def _load(data: Path, named: Mapping[str, Any]) -> VideoList:
    """The tested list, or the training list from which its validation videos were held out."""
    find = partial(load_videos, data, split=named["split_number"], format=named["format"])
    try:
        return find(subset=named["subset"])
    except NoSuchSubsetError:
        if named["subset"] != "validation":
            raise
        return find(subset="train")


_COLUMNS = ("video", "label", "num_right")


def flips(runs: Sequence[Evaluated]) -> Iterator[dict[str, Any]]:
    """One row per video of a test set that some runs classify correctly and others do not."""
    for video, result in runs[0].results.items():
        right = {run.name: run.results[video].within(1) for run in runs}
        if len(set(right.values())) == 2:
            row = {"video": video, "label": runs[0].labels[result.label], "num_right": sum(right.values())}
            yield row | {key: value for run in runs for key, value in _answer_cells(run, video).items()}


def write_flips(path: Path, rows: Sequence[dict[str, Any]]) -> None:
    """Write these rows; cells of runs that were not tested on a video stay empty."""
    if not rows:
        write_text(path, ",".join(_COLUMNS) + "\n")
        return
    columns = dict.fromkeys(name for row in rows for name in row)
    write_csv(path, [columns | row for row in rows])


def _answer_cells(run: Evaluated, video: str) -> dict[str, Any]:
    result = run.results[video]
    predicted = run.labels[result.ranking[0]] if result.scores else None  # not decoded
    return {f"predicted:{run.name}": predicted, f"score:{run.name}": max(result.scores, default=None)}
