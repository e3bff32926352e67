"""Student's t for a handful of repeated measurements. Which measurements may be pooled is the caller's to know."""

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Repeated:
    """The mean of a few differences, and how far it can be trusted."""

    mean: float
    interval: tuple[float, float] | None
    """95 %; None for one value, or values that are all the same: they do not show how much they scatter."""
    p: float
    """Two-sided, for a true mean of zero; 1 where there is no interval, for then nothing is shown."""


def repeated(differences: Sequence[float]) -> Repeated:
    """Mean, interval and p of differences that were measured independently.

    Args:
        differences: At least one.

    Source: Student 1908, The probable error of a mean.
    """
    mean = statistics.fmean(differences)
    if len(set(differences)) == 1:
        return Repeated(mean=mean, interval=None, p=1.0)
    freedom = len(differences) - 1
    error = statistics.stdev(differences) / math.sqrt(len(differences))
    margin = error * t_quantile(freedom)
    return Repeated(mean=mean, interval=(mean - margin, mean + margin), p=1 - t_within(mean / error, freedom))


def t_quantile(freedom: int, share: float = 0.95) -> float:
    """The t that a share of all values stays within, on both sides of zero, by bisection of the angle."""
    low, high = 0.0, math.pi / 2
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (middle, high) if _within_angle(middle, freedom) < share else (low, middle)
    return math.sqrt(freedom) * math.tan(low)


def t_within(t: float, freedom: int) -> float:
    """Probability that Student's t with so many degrees of freedom lies between -|t| and |t|."""
    return _within_angle(math.atan(abs(t) / math.sqrt(freedom)), freedom)


def _within_angle(angle: float, freedom: int) -> float:
    """The finite sums of Abramowitz and Stegun 1964, 26.7.3 and 26.7.4, where t is sqrt(freedom) * tan(angle)."""
    sine, cosine = math.sin(angle), math.cos(angle)
    odd = freedom % 2
    term = cosine if odd else 1.0
    total = 0.0
    for index in range(freedom // 2):
        total += term
        term *= cosine**2 * (2 * index + 1 + odd) / (2 * index + 2 + odd)
    return 2 / math.pi * (angle + sine * total) if odd else sine * total
