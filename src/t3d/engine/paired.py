"""Two runs on the same videos: how often each is right alone, and whether that may be chance. No files, no names."""

import itertools
from collections import Counter
from collections.abc import Hashable, Iterable, Sequence
from dataclasses import dataclass

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
    total = only_first + only_second
    ways, tail = 1, 0  # of choosing the rarer kind, and their sum so far
    for chosen in range(min(only_first, only_second) + 1):
        tail += ways
        ways = ways * (total - chosen) // (chosen + 1)
    return min(1.0, 2 * tail / 2**total)


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
