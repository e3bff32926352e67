"""Tables of measurements relative to the first row, targets, and their JSON and Markdown forms."""

import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from t3d.bench.rounds import Measured, ratios

Unit = Literal["x faster", "x the time", "x the memory", "s", "of the limit", "relative difference"]
Figures = Mapping[str, Any]


@dataclass(frozen=True, kw_only=True)
class Target:
    """A target and the reached value."""

    what: str
    unit: Unit
    bound: float
    reached: float | None
    """None if nothing could be measured; counts as missed."""

    @property
    def at_most(self) -> bool:
        """Whether less is better."""
        return self.unit not in ("x faster", "of the limit")

    @property
    def met(self) -> bool:
        """Whether the reached value is within the bound."""
        if self.reached is None:
            return False
        return self.reached <= self.bound if self.at_most else self.reached >= self.bound


@dataclass(frozen=True, kw_only=True)
class Row:
    """A measured variant, the operations of a step, and the machine's best rate in its precision."""

    measured: Measured
    flops: int | None = None
    """Operations per step as computed, two per multiply-add; None if unknown."""
    limit: float | None = None
    """Best measured operations per second."""

    @property
    def share(self) -> float | None:
        """Rate of the median step relative to the limit."""
        if self.measured.error or not self.flops or not self.limit:
            return None
        return self.flops / self.measured.median / self.limit


@dataclass(frozen=True, kw_only=True)
class Table:
    """Rows, each compared with the first."""

    title: str
    rows: Sequence[Row]
    ratio: Literal["x faster", "x the time"] = "x faster"
    targets: Sequence[Target] = ()
    notes: Sequence[str] = ()
    memory: bool = True
    """Whether to show the memory of the variants' processes."""
    facts: Mapping[str, Any] = field(default_factory=dict)
    """Other results, as JSON values."""

    def figures(self) -> dict[str, Any]:
        """The table as JSON values."""
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
            "memory_ratio": share(measured.peak_bytes, base.peak_bytes) if self.memory else None,
            "flops": row.flops,
            "share_of_limit": row.share,
        }


def share(part: int, whole: int) -> float | None:
    """Ratio of two numbers; None if one of them is 0, such as the memory of a failed variant."""
    return part / whole if part and whole else None


def markdown(document: Figures, *, title: str) -> str:
    """Write a record as Markdown: command, machine, limits, then each table with its targets and notes."""
    lines = [f"# {title}", "", f"`{document['command']}`", "", _facts(document["machine"])]
    if document["limits"]:
        lines += ["", f"Best rates measured here: {_limits(document['limits'])}."]
    for table in document["tables"]:
        columns = _named_columns(table["columns"]) if "columns" in table else _columns(table)
        lines += ["", f"## {table['title']}", "", *_table(columns, table["rows"])]
        if table["targets"]:
            lines += ["", *_table(_TARGET_COLUMNS, table["targets"])]
        for note in table["notes"]:
            lines += ["", note]
    return "\n".join(lines) + "\n"


Column = tuple[str, Callable[[Figures], str]]
"""Its head, and the cell of a row."""


def _spread(values: Sequence[float]) -> Mapping[str, float] | None:
    if not values:
        return None
    return {"median": statistics.median(values), "from": min(values), "to": max(values)}


def _facts(machine: Figures) -> str:
    known = {name: value for name, value in machine.items() if value is not None}
    memory = known.pop("memory_bytes", None)
    if memory is not None:
        known["memory"] = f"{memory / 1e9:.0f} GB"
    return ", ".join(f"{name.replace('_', ' ')} {value}" for name, value in known.items())


def _limits(limits: Figures) -> str:
    return ", ".join(
        f"{limits[what][name] / 1e9:.0f} GFLOP/s {name} {what}"
        for what in ("product", "convolution")
        for name in limits[what]
    )


def _columns(table: Figures) -> list[Column]:
    """Columns of timed variants, without those that are empty in every row."""
    times = {"x faster": "times faster", "x the time": "times the time"}[table["ratio"]]
    columns: list[Column] = [
        ("variant", lambda row: row["name"]),
        ("median", lambda row: _seconds(row["time"]["median"]) if row["time"] else row["error"]),
        ("from to", lambda row: _range(row["time"], _seconds)),
        (times, lambda row: f"{row['ratio']['median']:.2f}" if row["ratio"] else ""),
        ("from to", lambda row: _range(row["ratio"], "{:.2f}".format)),
        ("peak memory", lambda row: f"{row['peak_bytes'] / 1e6:.0f} MB" if row["peak_bytes"] is not None else ""),
        ("times the memory", lambda row: f"{row['memory_ratio']:.2f}" if row["memory_ratio"] is not None else ""),
        ("GFLOP", lambda row: f"{row['flops'] / 1e9:.1f}" if row["flops"] else ""),
        ("of the limit", lambda row: f"{row['share_of_limit']:.0%}" if row["share_of_limit"] is not None else ""),
    ]
    return [column for column in columns if any(column[1](row) for row in table["rows"])]


def _named_columns(columns: Mapping[str, str]) -> list[Column]:
    """Columns of a table that has its own: name of each, and how its values are formatted."""
    return [(name, lambda row, name=name, form=form: _cell(row[name], form)) for name, form in columns.items()]  # type: ignore[misc]


def _cell(value: object, form: str) -> str:
    return value if isinstance(value, str) else format(value, form)


def _seconds(value: float) -> str:
    return f"{value:.2f} s" if value >= 1 else f"{value * 1000:.{1 if value < 0.1 else 0}f} ms"


def _range(spread: Mapping[str, float] | None, write: Callable[[float], str]) -> str:
    return f"{write(spread['from'])} to {write(spread['to'])}" if spread else ""


def _bound(target: Figures) -> str:
    return f"{'<=' if target['at_most'] else '>='} {_value(target, target['bound'])}"


def _value(target: Figures, value: float | None) -> str:
    if value is None:
        return "not measured"
    written = {"of the limit": "{:.0%}", "relative difference": "{:.1e}", "s": "{:.2f}"}
    return f"{written.get(target['unit'], '{:.3g}').format(value)} {target['unit']}"


_TARGET_COLUMNS: list[Column] = [
    ("target", lambda target: target["what"]),
    ("wanted", _bound),
    ("reached", lambda target: _value(target, target["reached"])),
    ("", lambda target: "met" if target["met"] else "missed"),
]


def _table(columns: Sequence[Column], rows: Sequence[Figures]) -> list[str]:
    marks = ["---", *["---:"] * (len(columns) - 1)]
    cells = [[head for head, _ in columns], marks, *([write(row) for _, write in columns] for row in rows)]
    return ["| " + " | ".join(line) + " |" for line in cells]
