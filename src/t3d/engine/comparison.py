"""What is known of the difference of two runs, or of two kinds of runs, that were tested on the same videos."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from t3d.engine.paired import Tally, bootstrap_interval, holm, mcnemar, tally
from t3d.engine.student import repeated

LEVEL = 0.05

Right = Sequence[bool]
"""Whether a run names each video correctly."""


@dataclass(frozen=True, kw_only=True)
class Pair:
    """The first and the second of two runs, or of two kinds of runs."""

    first: str
    second: str
    num_runs: int = 1
    """Runs of each; several where these are repetitions of an experiment."""
    counts: Tally
    """Videos, those of all runs together."""
    difference: float
    """Video top-1 of the second less that of the first, as a fraction; of several runs, the mean."""
    interval: tuple[float, float] | None
    """95 %: over videos, or where there are several runs over these."""
    interval_by_group: tuple[float, float] | None = None
    """The same over groups of videos; None where no two videos share one."""
    p_mcnemar: float
    p: float
    """That of McNemar, or where there are several runs that of Student's t over them."""
    p_holm: float
    """The same, adjusted for the other rows of a table."""

    @property
    def verdict(self) -> str:
        """Which is better, if shown: adjusted p below 0.05, and zero outside the interval by group if there is one."""
        low, high = self.interval_by_group or (self.difference, self.difference)
        if self.p_holm >= LEVEL or low <= 0 <= high:
            return "no difference shown"
        return "second better" if self.difference > 0 else "first better"


def compare_runs(
    names: tuple[str, str],
    right: tuple[Right, Right],
    groups: Sequence[str] | None = None,
    *,
    generator: np.random.Generator,
) -> Pair:
    """Set one run against another.

    Args:
        names: Of the two.
        right: Of the two, one value a video, in the same order.
        groups: What makes videos alike, one value a video; left out, nothing.
        generator: Source of the resampling.
    """
    counts = tally(*right)
    p = mcnemar(counts.only_first, counts.only_second)
    return Pair(
        first=names[0],
        second=names[1],
        counts=counts,
        difference=counts.difference,
        interval=bootstrap_interval(*right, generator=generator),
        interval_by_group=bootstrap_interval(*right, groups, generator=generator) if groups else None,
        p_mcnemar=p,
        p=p,
        p_holm=p,
    )


def compare_kinds(names: tuple[str, str], right: Sequence[tuple[Right, Right]]) -> Pair:
    """Set repetitions of one experiment against those of another.

    Args:
        names: Of the two.
        right: For each repetition, such as a seed, what the two said of its videos.
    """
    tallies = [tally(*both) for both in right]
    counts = sum(tallies[1:], start=tallies[0])
    over_runs = repeated([each.difference for each in tallies])
    return Pair(
        first=names[0],
        second=names[1],
        num_runs=len(tallies),
        counts=counts,
        difference=over_runs.mean,
        interval=over_runs.interval,
        p_mcnemar=mcnemar(counts.only_first, counts.only_second),
        p=over_runs.p,
        p_holm=over_runs.p,
    )


def adjusted(pairs: Sequence[Pair]) -> list[Pair]:
    """The rows of one table, with p values that allow for there being several."""
    return [replace(pair, p_holm=p) for pair, p in zip(pairs, holm([pair.p for pair in pairs]), strict=True)]
