"""What was measured, as rows set against their first, and as targets met or missed. Nothing here measures."""

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from t3d.bench.rounds import Measured, ratios

Unit = Literal["x faster", "x the time", "x the memory", "s", "of the limit", "relative difference"]


@dataclass(frozen=True, kw_only=True)
class Target:
    """What was aimed at, and what was reached."""

    what: str
    unit: Unit
    bound: float
    reached: float | None
    """None where nothing could be measured: that is a miss, too."""

    @property
    def at_most(self) -> bool:
        """Whether less is better."""
        return self.unit not in ("x faster", "of the limit")

    @property
    def met(self) -> bool:
        """Whether what was reached is within the bound."""
        if self.reached is None:
            return False
        return self.reached <= self.bound if self.at_most else self.reached >= self.bound


@dataclass(frozen=True, kw_only=True)
class Row:
    """An arm, what a step of it computes, and the best rate that the machine has for that."""

    measured: Measured
    flops: int | None = None
    """Operations of a step as it is really computed, two a multiply-add; None where that is not known."""
    limit: float | None = None
    """Operations a second of the machine in this precision, the best measured."""

    @property
    def share(self) -> float | None:
        """Of the limit, by the median of the seconds."""
        if self.measured.error or not self.flops or not self.limit:
            return None
        return self.flops / self.measured.median / self.limit


@dataclass(frozen=True, kw_only=True)
class Table:
    """Rows of which the first is what the others are set against."""

    title: str
    rows: Sequence[Row]
    ratio: Literal["x faster", "x the time"] = "x faster"
    targets: Sequence[Target] = ()
    notes: Sequence[str] = ()
    memory: bool = True
    """Whether the memory of the arms' processes says something."""
    facts: Mapping[str, Any] = field(default_factory=dict)
    """What else was found, as JSON values."""

    def figures(self) -> dict[str, Any]:
        """Everything, as JSON has it."""
        return {
            "title": self.title,
            "ratio": self.ratio,
            "rows": [self._row(row) for row in self.rows],
            "targets": [vars(target) | {"at_most": target.at_most, "met": target.met} for target in self.targets],
            "notes": list(self.notes),
            **self.facts,
        }

    def _row(self, row: Row) -> dict[str, Any]:
        measured, base = row.measured, self.rows[0].measured
        compared = ratios(base, measured) if self.ratio == "x faster" else ratios(measured, base)
        return {
            "name": measured.name,
            "error": measured.error,
            "seconds": list(measured.seconds),
            "time": _spread(measured.seconds),
            "ratio": _spread(compared),
            "peak_bytes": measured.peak_bytes if self.memory and measured.peak_bytes else None,
            "memory_ratio": _share(measured.peak_bytes, base.peak_bytes) if self.memory else None,
            "flops": row.flops,
            "share_of_limit": row.share,
        }


def times_faster(rows: Sequence[Row], names: Sequence[str]) -> float | None:
    """The best of the named arms: median over the rounds of how many times faster than the first row."""
    found = [ratios(rows[0].measured, row.measured) for row in _named(rows, names)]
    return max((statistics.median(values) for values in found if values), default=None)


def times_the_time(rows: Sequence[Row], name: str) -> float | None:
    """Median over the rounds of an arm's seconds divided by those of the first row."""
    found = [ratios(row.measured, rows[0].measured) for row in _named(rows, [name])]
    return min((statistics.median(values) for values in found if values), default=None)


def times_the_memory(rows: Sequence[Row], name: str) -> float | None:
    """Peak memory of an arm divided by that of the first row."""
    shares = [_share(row.measured.peak_bytes, rows[0].measured.peak_bytes) for row in _named(rows, [name])]
    return min((share for share in shares if share is not None), default=None)


def best_share(rows: Sequence[Row], names: Sequence[str]) -> float | None:
    """Of the machine's limit: the best of the named arms."""
    return max((row.share for row in _named(rows, names) if row.share is not None), default=None)


def _named(rows: Sequence[Row], names: Sequence[str]) -> list[Row]:
    return [row for row in rows if row.measured.name in names]


def _share(part: int, whole: int) -> float | None:
    """None where one of them failed, and holds nothing."""
    return part / whole if part and whole else None


def _spread(values: Sequence[float]) -> Mapping[str, float] | None:
    if not values:
        return None
    return {"median": statistics.median(values), "from": min(values), "to": max(values)}
