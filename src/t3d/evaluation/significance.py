"""Statistical tests for runs on the same videos: McNemar, bootstrap, Holm, Student's t."""

import itertools
import math
import statistics
from collections import Counter
from collections.abc import Hashable, Iterable, Sequence
from dataclasses import dataclass, replace

import numpy as np


@dataclass(frozen=True, kw_only=True)
class Tally:
    """Numbers of videos that both, one or none of two runs classify correctly."""

    both: int
    only_first: int
    only_second: int
    neither: int

    @property
    def num_videos(self) -> int:
        """All videos."""
        return self.both + self.only_first + self.only_second + self.neither

    @property
    def difference(self) -> float:
        """Top-1 of the second minus that of the first, as a fraction."""
        return (self.only_second - self.only_first) / self.num_videos

    def __add__(self, other: "Tally") -> "Tally":
        return Tally(**{name: getattr(self, name) + getattr(other, name) for name in vars(self)})


def tally(first: Sequence[bool], second: Sequence[bool]) -> Tally:
    """Count the videos that both, one or none of two runs got right.

    Args:
        first: Whether the first run is right, one value per video.
        second: The same for the second run, in the same order.
    """
    counts = Counter(zip(first, second, strict=True))
    return Tally(
        both=counts[True, True],
        only_first=counts[True, False],
        only_second=counts[False, True],
        neither=counts[False, False],
    )


def mcnemar(only_first: int, only_second: int) -> float:
    """Exact two-sided p of the null hypothesis that both runs are equally often right alone.

    Source: McNemar 1947, Note on the sampling error of the difference between correlated proportions or percentages;
        the exact form is the sign test, binomial with one half.
    """
    from scipy import stats  # takes half a second to import

    total = only_first + only_second
    return float(stats.binomtest(only_first, total, 0.5).pvalue) if total else 1.0


def bootstrap_interval(
    first: Sequence[bool],
    second: Sequence[bool],
    groups: Sequence[Hashable] | None = None,
    *,
    generator: np.random.Generator,
    num_draws: int = 10_000,
) -> tuple[float, float]:
    """Bootstrap 95 % interval of the difference in top-1, second minus first, over videos or whole groups.

    Args:
        first: Whether the first run is right, one value a video.
        second: The same of the second run, in the same order.
        groups: Group of each video, such as the person; by default videos are independent.
        generator: Source of randomness.
        num_draws: Number of resampled test sets.

    Source: Efron and Tibshirani 1993, An introduction to the bootstrap, chapter 13 (percentile interval).
    """
    gains: dict[Hashable, int] = Counter()
    sizes: dict[Hashable, int] = Counter()
    for group, before, after in zip(groups or range(len(first)), first, second, strict=True):
        gains[group] += int(after) - int(before)
        sizes[group] += 1
    # Units of equal gain and size are interchangeable: one multinomial draw of their counts is equivalent and cheaper.
    alike = Counter((gains[group], sizes[group]) for group in sizes)
    drawn = generator.multinomial(len(sizes), np.array(list(alike.values())) / len(sizes), size=num_draws)  # (D, U)
    gain, size = np.array(list(alike)).T
    low, high = np.quantile((drawn @ gain) / (drawn @ size), (0.025, 0.975))
    return float(low), float(high)


def holm(p_values: Sequence[float]) -> list[float]:
    """Adjust p values for multiple tests (family-wise error rate).

    Source: Holm 1979, A simple sequentially rejective multiple test procedure.
    """
    order = sorted(range(len(p_values)), key=lambda index: p_values[index])
    scaled: Iterable[float] = (min(1.0, (len(order) - rank) * p_values[index]) for rank, index in enumerate(order))
    adjusted = dict(zip(order, itertools.accumulate(scaled, max), strict=True))
    return [adjusted[index] for index in range(len(p_values))]


@dataclass(frozen=True, kw_only=True)
class TTest:
    """Mean of a few differences, with interval and p."""

    mean: float
    interval: tuple[float, float] | None
    """95 %; None for one value, or equal values, which have no variance."""
    p: float
    """Two-sided, for a true mean of zero; 1 without an interval."""


def t_test(differences: Sequence[float]) -> TTest:
    """Student's t test of independent differences.

    Args:
        differences: At least one.

    Source: Student 1908, The probable error of a mean.
    """
    from scipy import stats  # takes half a second to import

    mean = statistics.fmean(differences)
    if len(set(differences)) == 1:
        return TTest(mean=mean, interval=None, p=1.0)
    freedom = len(differences) - 1
    error = statistics.stdev(differences) / math.sqrt(len(differences))
    margin = error * float(stats.t.ppf(0.975, freedom))
    p = 2 * float(stats.t.sf(abs(mean / error), freedom))
    return TTest(mean=mean, interval=(mean - margin, mean + margin), p=p)


LEVEL = 0.05

Right = Sequence[bool]
"""Whether a run classifies each video correctly."""


@dataclass(frozen=True, kw_only=True)
class Pair:
    """Comparison of two runs, or of two repeated experiments."""

    first: str
    second: str
    num_runs: int = 1
    """Runs of each; more than one for repeated experiments."""
    counts: Tally
    """Tally of the videos of all runs together."""
    difference: float
    """Video top-1 of the second minus that of the first, as a fraction; mean over runs."""
    interval: tuple[float, float] | None
    """95 %: over videos, or over runs if there are several."""
    interval_by_group: tuple[float, float] | None = None
    """95 % over groups of videos; None if no two videos share one."""
    p_mcnemar: float
    p: float
    """McNemar's p, or Student's t over runs if there are several."""
    p_holm: float
    """p adjusted for the other rows of a table."""

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
    """Compare a run with another.

    Args:
        names: Names of the two.
        right: Correctness of the two, one value per video, in the same order.
        groups: Group of each video; by default videos are independent.
        generator: Source of randomness.
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


def compare_experiments(names: tuple[str, str], right: Sequence[tuple[Right, Right]]) -> Pair:
    """Compare the repetitions of one experiment with those of another.

    Args:
        names: Names of the two.
        right: Correctness of the two, for each repetition.
    """
    tallies = [tally(*both) for both in right]
    counts = sum(tallies[1:], start=tallies[0])
    over_runs = t_test([each.difference for each in tallies])
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
    """The rows of one table with adjusted p values."""
    return [replace(pair, p_holm=p) for pair, p in zip(pairs, holm([pair.p for pair in pairs]), strict=True)]
