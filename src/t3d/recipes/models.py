"""List the networks with their parameters and native input, and what a clip costs: counted, or measured here."""

import json
from collections.abc import Mapping
from typing import Any

import torch
from rich.console import Console
from rich.table import Column, Table

from t3d.bench.networks import forward_step
from t3d.bench.rounds import Arm, measure
from t3d.config import ModelsConfig
from t3d.files import write_text
from t3d.models import ARCHITECTURES, ModelSummary, describe_models
from t3d.models.describe import ClipShape, fit
from t3d.models.sizes import times
from t3d.recipes.console import counted, warn
from t3d.recipes.folders import make_folder
from t3d.recipes.models_text import cells, markdown, note

_COMMON = (16, 112, 112)


def run(config: ModelsConfig) -> list[dict[str, Any]]:
    """One row a network; a file where the flags name one.

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
    """What the network costs at an input of all networks; its GFLOPs are None where it does not take it."""
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
    arm = Arm(name=name, build=forward_step, arguments={"arch": name, "shape": (1, *shape), **overrides})
    (cost,) = measure([arm], rounds=3, threads=torch.get_num_threads())
    if cost.error:
        warn(f"{name}, clips of {times(shape)}: {cost.error}")
        return {"milliseconds": None, "peak_bytes": None}
    return {"milliseconds": 1000 * cost.median, "peak_bytes": cost.peak_bytes}
