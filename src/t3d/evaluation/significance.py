"""Whether runs on the same videos differ by more than chance: McNemar, bootstrap, Holm, t."""

import itertools
import math
import statistics
from collections import Counter
from collections.abc import Hashable, Iterable, Sequence
from dataclasses import dataclass, replace

import numpy as np


@dataclass(frozen=True, kw_only=True)
class Tally:
    """Numbers of videos, by which of two runs is right about them."""

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
        """Top-1 of the second less that of the first, as a fraction."""
        return (self.only_second - self.only_first) / self.num_videos

    def __add__(self, other: "Tally") -> "Tally":
        return Tally(**{name: getattr(self, name) + getattr(other, name) for name in vars(self)})


def tally(first: Sequence[bool], second: Sequence[bool]) -> Tally:
    """Count the videos that both, one or none of two runs got right.

    Args:
        first: Whether the first run is right, one value a video.
        second: The same of the second run, in the same order.
    """
    counts = Counter(zip(first, second, strict=True))
    return Tally(
        both=counts[True, True],
        only_first=counts[True, False],
        only_second=counts[False, True],
        neither=counts[False, False],
    )


def mcnemar(only_first: int, only_second: int) -> float:
    """Exact two-sided p: were the two equally often right alone, how likely is a division at least as uneven?

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
    """95 % interval of the difference in top-1, second less first: videos, or whole groups of them, drawn anew.

    Args:
        first: Whether the first run is right, one value a video.
        second: The same of the second run, in the same order.
        groups: What the videos share that makes them alike, such as the person; left out, nothing.
        generator: Source of the draws.
        num_draws: Resampled test sets.

    Source: Efron and Tibshirani 1993, An introduction to the bootstrap, chapter 13 (percentile interval).
    """
    gains: dict[Hashable, int] = Counter()
    sizes: dict[Hashable, int] = Counter()
    for group, before, after in zip(groups or range(len(first)), first, second, strict=True):
        gains[group] += int(after) - int(before)
        sizes[group] += 1
    # Units of the same gain and size are interchangeable: drawing how many of each is drawing units, and far less work.
    alike = Counter((gains[group], sizes[group]) for group in sizes)
    drawn = generator.multinomial(len(sizes), np.array(list(alike.values())) / len(sizes), size=num_draws)  # (D, U)
    gain, size = np.array(list(alike)).T
    low, high = np.quantile((drawn @ gain) / (drawn @ size), (0.025, 0.975))
    return float(low), float(high)


def holm(p_values: Sequence[float]) -> list[float]:
    """Adjust p values for there being several: the chance that any of the true nulls is refused stays below the level.

    Source: Holm 1979, A simple sequentially rejective multiple test procedure.
    """
    order = sorted(range(len(p_values)), key=lambda index: p_values[index])
    scaled: Iterable[float] = (min(1.0, (len(order) - rank) * p_values[index]) for rank, index in enumerate(order))
    adjusted = dict(zip(order, itertools.accumulate(scaled, max), strict=True))
    return [adjusted[index] for index in range(len(p_values))]


@dataclass(frozen=True, kw_only=True)
class TTest:
    """The mean of a few differences, and how far it can be trusted."""

    mean: float
    interval: tuple[float, float] | None
    """95 %; None for one value, or values that are all the same: they do not show how much they scatter."""
    p: float
    """Two-sided, for a true mean of zero; 1 where there is no interval, for then nothing is shown."""


def t_test(differences: Sequence[float]) -> TTest:
    """Student's t test of differences that were measured independently.

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
"""Whether a run names each video correctly."""


@dataclass(frozen=True, kw_only=True)
class Pair:
    """The first and the second of two runs, or of two experiments that were repeated."""

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
    """Compare a run with another.

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


def compare_experiments(names: tuple[str, str], right: Sequence[tuple[Right, Right]]) -> Pair:
    """Compare the repetitions of one experiment with those of another.

    Args:
        names: Of the two.
        right: For each repetition, such as a seed, what the two said of its videos.
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
    """The rows of one table, with p values that allow for there being several."""
    return [replace(pair, p_holm=p) for pair, p in zip(pairs, holm([pair.p for pair in pairs]), strict=True)]
