"""The list of networks as cells of a table, and as Markdown."""

from collections.abc import Mapping, Sequence
from typing import Any

import torch

from t3d.models.sizes import times

Rows = Sequence[Mapping[str, Any]]
_MISSING = "n/a at this size"


def cells(rows: Rows) -> list[list[str]]:
    """The head, then a row a network; columns that no row has are left out."""
    head = ["name", "parameters", "GFLOPs", "input (C x T x H x W)", *(["ms", "MB"] if _is_measured(rows) else [])]
    if "common" in rows[0]:
        head += ["common GFLOPs", *(["common ms", "common MB"] if _is_measured(rows) else [])]
    return [head, *(_row(row) for row in rows)]


def note(rows: Rows) -> str:
    """How the measured figures came about, and which networks had to be changed."""
    changed: dict[str, list[str]] = {}
    for row in rows:
        for name, value in row.get("common", {}).get("overrides", {}).items():
            changed.setdefault(f"{name}={value}", []).append(row["name"])
    lines = [f"common: the same at clips of {times(rows[0]['common']['input'][1:])}."] if "common" in rows[0] else []
    lines += [f"* {', '.join(names)} with {literal}." for literal, names in changed.items()]
    if _is_measured(rows):
        threads = torch.get_num_threads()
        lines.append(
            f"ms: median of 3 forward passes of one clip, float32 on the CPU, threads: {threads}, torch "
            f"{torch.__version__}. MB: peak resident memory of the process above that before the network was built."
        )
    return "\n".join(lines)


def markdown(rows: Rows) -> str:
    """The table as a file."""
    head, *lines = cells(rows)
    marks = ["---", *["---:"] * (len(head) - 1)]
    table = ["| " + " | ".join(line) + " |" for line in (head, marks, *lines)]
    below = note(rows).replace("* ", r"\* ").splitlines()
    return "\n".join([*table, "", "GFLOPs: 2 operations a multiply-add; parameters with 400 classes.", *below]) + "\n"


def _row(row: Mapping[str, Any]) -> list[str]:
    known = [row["name"], f"{row['parameters'] / 1e6:.2f} M", _gflops(row), times(row["input"])]
    known += _measured(row)
    common = row.get("common")
    if common is None:
        return known
    if common["gflops"] is None:
        return [*known, _MISSING, *([_MISSING] * len(_measured(row)))]
    return [*known, _gflops(common) + ("*" if common["overrides"] else ""), *_measured(common)]


def _measured(figures: Mapping[str, Any]) -> list[str]:
    if "milliseconds" not in figures:
        return []
    if figures["milliseconds"] is None:
        return ["n/a", "n/a"]
    return [f"{figures['milliseconds']:.0f}", f"{figures['peak_bytes'] / 1e6:.0f}"]


def _gflops(figures: Mapping[str, Any]) -> str:
    return f"{figures['gflops']:.2f}" if figures["gflops"] < 10 else f"{figures['gflops']:.1f}"


def _is_measured(rows: Rows) -> bool:
    return "milliseconds" in rows[0]
