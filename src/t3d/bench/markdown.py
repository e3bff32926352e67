"""What a bench found, as Markdown: made from the JSON document, so that both say the same."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

Figures = Mapping[str, Any]
Column = tuple[str, Callable[[Figures], str]]


def markdown(document: Figures) -> str:
    """The machine, its limits, then each table with its targets."""
    lines = [f"# t3d bench {document['kind']}", "", f"`{document['command']}`", "", _facts(document["machine"])]
    if document["limits"]:
        lines += ["", f"Best rates measured here: {_limits(document['limits'])}."]
    for table in document["tables"]:
        lines += ["", f"## {table['title']}", "", *_table(_columns(table), table["rows"])]
        if table["targets"]:
            lines += ["", *_table(_TARGET_COLUMNS, table["targets"])]
        for note in table["notes"]:
            lines += ["", note]
    return "\n".join(lines) + "\n"


def _facts(machine: Figures) -> str:
    known = {name: value for name, value in machine.items() if value is not None}
    memory = known.pop("memory_bytes", None)
    if memory is not None:
        known["memory"] = f"{memory / 1e9:.0f} GB"
    return ", ".join(f"{name.replace('_', ' ')} {value}" for name, value in known.items())


def _limits(limits: Figures) -> str:
    return ", ".join(
        f"{limits[what][name] / 1e9:.0f} GFLOP/s {name} {what}" for what in _RATES for name in limits[what]
    )


_RATES = "product", "convolution"


def _columns(table: Figures) -> list[Column]:
    """Those of which some row has something."""
    times = {"x faster": "times faster", "x the time": "times the time"}[table["ratio"]]
    columns: list[Column] = [
        ("arm", lambda row: row["name"]),
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
