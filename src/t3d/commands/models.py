"""List networks with parameters, native input, and the counted or measured cost of a clip."""

import json
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from rich.console import Console
from rich.table import Column, Table

from t3d.bench.rounds import Variant, measure
from t3d.bench.steps import forward_step
from t3d.commands._console import counted, warn
from t3d.config import ModelsConfig
from t3d.files import make_folder, write_text
from t3d.models import ARCHITECTURES, ModelSummary, describe_models
from t3d.models.layers import times
from t3d.models.summary import ClipShape, fit

_COMMON = (16, 112, 112)


def run(config: ModelsConfig) -> list[dict[str, Any]]:
    """Return one row per network, and write the file if requested.

    Raises:
        ConfigError: A network is unknown.
    """
    if config.output is not None:
        make_folder(config.output.parent)
    summaries = describe_models(config.arch or ARCHITECTURES)
    rows = [_row(summary, config) for summary in counted(summaries, "networks", total=len(summaries))]
    if config.output is not None:
        write_text(config.output, markdown(rows))
    return rows


def show(rows: list[dict[str, Any]], config: ModelsConfig) -> int:
    """Print the rows."""
    if config.json:
        print(json.dumps(rows, indent=2))
        return 0
    head, *lines = cells(rows)
    columns = [Column(text, no_wrap=text.startswith(("name", "input"))) for text in head]
    table = Table(*columns, title="2 operations a multiply-add", caption=note(rows))
    for line in lines:
        table.add_row(*line)
    Console().print(table)
    return 0


def _row(summary: ModelSummary, config: ModelsConfig) -> dict[str, Any]:
    row: dict[str, Any] = {
        "name": summary.name,
        "parameters": summary.parameters,
        "gflops": summary.gflops,
        "input": list(summary.input),
    }
    if config.measure:
        row |= _measured(summary.name, summary.input, {})
    size = config.input or (_COMMON if config.measure else None)
    return row if size is None else row | {"common": _common(row, size, config)}


def _common(row: Mapping[str, Any], size: tuple[int, int, int], config: ModelsConfig) -> dict[str, Any]:
    """Cost of the network at the common input; GFLOPs are None if the network does not accept it."""
    found = fit(row["name"], size)
    if found is None:
        return {"input": [row["input"][0], *size], "overrides": {}, "gflops": None}
    common = {"input": list(found.input), "overrides": found.overrides, "gflops": found.gflops}
    if not config.measure:
        return common
    if common["input"] == row["input"]:
        return common | {key: row[key] for key in ("milliseconds", "peak_bytes")}
    return common | _measured(row["name"], found.input, found.overrides)


def _measured(name: str, shape: ClipShape, overrides: Mapping[str, Any]) -> dict[str, Any]:
    variant = Variant(name=name, build=forward_step, arguments={"arch": name, "shape": (1, *shape), **overrides})
    (cost,) = measure([variant], rounds=3, threads=torch.get_num_threads())
    if cost.error:
        warn(f"{name}, clips of {times(shape)}: {cost.error}")
        return {"milliseconds": None, "peak_bytes": None}
    return {"milliseconds": 1000 * cost.median, "peak_bytes": cost.peak_bytes}


Rows = Sequence[Mapping[str, Any]]
_MISSING = "n/a at this size"


def cells(rows: Rows) -> list[list[str]]:
    """The header, then one row per network; empty columns are left out."""
    head = ["name", "parameters", "GFLOPs", "input (C x T x H x W)", *(["ms", "MB"] if _is_measured(rows) else [])]
    if "common" in rows[0]:
        head += ["common GFLOPs", *(["common ms", "common MB"] if _is_measured(rows) else [])]
    return [head, *(_row_models_text(row) for row in rows)]


def note(rows: Rows) -> str:
    """Notes on the measurement, and on networks that needed overrides."""
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


def _row_models_text(row: Mapping[str, Any]) -> list[str]:
    known = [row["name"], f"{row['parameters'] / 1e6:.2f} M", _gflops(row), times(row["input"])]
    known += _measured_models_text(row)
    common = row.get("common")
    if common is None:
        return known
    if common["gflops"] is None:
        return [*known, _MISSING, *([_MISSING] * len(_measured_models_text(row)))]
    return [*known, _gflops(common) + ("*" if common["overrides"] else ""), *_measured_models_text(common)]


def _measured_models_text(figures: Mapping[str, Any]) -> list[str]:
    if "milliseconds" not in figures:
        return []
    if figures["milliseconds"] is None:
        return ["n/a", "n/a"]
    return [f"{figures['milliseconds']:.0f}", f"{figures['peak_bytes'] / 1e6:.0f}"]


def _gflops(figures: Mapping[str, Any]) -> str:
    return f"{figures['gflops']:.2f}" if figures["gflops"] < 10 else f"{figures['gflops']:.1f}"


def _is_measured(rows: Rows) -> bool:
    return "milliseconds" in rows[0]
