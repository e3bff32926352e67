"""Figures of rows for targets, and tables that are not of timed variants."""

import statistics
from collections.abc import Mapping, Sequence
from typing import Any

from t3d.bench.rounds import ratios
from t3d.bench.tables import Row, share


def times_faster(rows: Sequence[Row], names: Sequence[str]) -> float | None:
    """The best of the named variants: median over the rounds of how many times faster than the first row."""
    found = [ratios(rows[0].measured, row.measured) for row in _named(rows, names)]
    return max((statistics.median(values) for values in found if values), default=None)


def times_the_time(rows: Sequence[Row], name: str) -> float | None:
    """Median over the rounds of a variant's seconds divided by those of the first row."""
    found = [ratios(row.measured, rows[0].measured) for row in _named(rows, [name])]
    return min((statistics.median(values) for values in found if values), default=None)


def times_the_memory(rows: Sequence[Row], name: str) -> float | None:
    """Peak memory of a variant divided by that of the first row."""
    shares = [share(row.measured.peak_bytes, rows[0].measured.peak_bytes) for row in _named(rows, [name])]
    return min((value for value in shares if value is not None), default=None)


def best_share(rows: Sequence[Row], names: Sequence[str]) -> float | None:
    """Share of the machine's limit: the best of the named variants."""
    return max((row.share for row in _named(rows, names) if row.share is not None), default=None)


def values_table(
    title: str, columns: Mapping[str, str], rows: Sequence[Mapping[str, Any]], *, notes: Sequence[str] = ()
) -> dict[str, Any]:
    """A table of any values, as JSON values.

    Args:
        title: Of the table.
        columns: Their names, and how the numbers of each are formatted, such as ".1f".
        rows: A value for each column.
        notes: Below the table.
    """
    return {"title": title, "columns": dict(columns), "rows": list(rows), "targets": [], "notes": list(notes)}


def _named(rows: Sequence[Row], names: Sequence[str]) -> list[Row]:
    return [row for row in rows if row.measured.name in names]
