"""Table the metrics of evaluated runs, with means over splits and seeds."""

import json
import statistics
from collections import defaultdict
from collections.abc import Sequence
from typing import Any

from t3d.config import CompareConfig
from t3d.errors import CheckpointError
from t3d.files import write_text
from t3d.recipes.console import warn

_HEAD = "| run | dataset | split | seed | views | videos | video top-1 | video top-5 | mean class | clip top-1 |"


def run(config: CompareConfig) -> str:
    """A Markdown table: one row a run, then a mean of those that differ in nothing but split and seed.

    Folders that were not evaluated, such as those of transfers, are left out with a warning.

    Raises:
        CheckpointError: A `metrics.json` cannot be read, or there is none at all.
    """
    evaluated = [path for path in config.runs if not path.is_dir() or (path / "metrics.json").exists()]
    for path in config.runs:
        if path not in evaluated and evaluated:
            warn(f"{path}: no metrics, left out; t3d evaluate {path} makes them")
    metrics = {str(path): _read(path) for path in evaluated or config.runs}
    lines = [_HEAD, "|" + "---|" * _HEAD.count(" | ") + "---|"]
    lines += [_row(name, values) for name, values in metrics.items()]
    comparable: dict[str, list[dict[str, Any]]] = defaultdict(list)
    for values in metrics.values():
        comparable[_kind(values)].append(values)
    lines += [_mean_row(values) for values in comparable.values() if len(values) > 1]
    table = "\n".join(lines)
    if config.output is not None:
        write_text(config.output, table + "\n")
    return table


def show(table: str, config: CompareConfig) -> int:
    """Print the table."""
    print(table)
    return 0


def _read(path: Any) -> dict[str, Any]:  # noqa: ANN401
    file = path / "metrics.json" if path.is_dir() else path
    try:
        values: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
        _row("", values), _kind(values)
    except FileNotFoundError:
        raise CheckpointError(f"{file}: no metrics; run t3d evaluate {path} first") from None
    except (ValueError, KeyError, TypeError, UnicodeDecodeError):
        raise CheckpointError(f"{file}: not the metrics of an evaluation; run t3d evaluate again") from None
    return values


def _kind(values: dict[str, Any]) -> str:
    """What runs must share for their mean to mean something."""
    dataset = {key: values["dataset"].get(key) for key in ("name", "root", "subset")}
    return json.dumps([dataset, values["protocol"], values["model"]], sort_keys=True)


def _row(name: str, values: dict[str, Any]) -> str:
    video = values["video"]
    cells = [
        name,
        values["dataset"]["name"],
        values["dataset"]["split_number"],
        values["seed"],
        values["protocol"]["views"],
        video["num_videos"],
        *(_percent(value) for value in (video["top1"], video["top5"], video["mean_class"], values["clip"]["top1"])),
    ]
    return "| " + " | ".join(str(cell) for cell in cells) + " |"


def _mean_row(runs: Sequence[dict[str, Any]]) -> str:
    splits = sorted({values["dataset"]["split_number"] for values in runs})
    seeds = sorted({values["seed"] for values in runs})
    columns = [[values["video"][name] for values in runs] for name in ("top1", "top5", "mean_class")]
    columns.append([values["clip"]["top1"] for values in runs])
    first = runs[0]
    cells = [f"**mean of {len(runs)}**, {first['model']['arch']}", first["dataset"]["name"]]
    cells += [_listed(splits), _listed(seeds), first["protocol"]["views"], "", *map(_mean, columns)]
    return "| " + " | ".join(cells) + " |"


def _mean(column: Sequence[float | None]) -> str:
    known = [value for value in column if value is not None]
    return f"{statistics.mean(known):.2%} ± {statistics.stdev(known):.2%}" if len(known) == len(column) else ""


def _listed(values: Sequence[int]) -> str:
    return ", ".join(map(str, values))


def _percent(value: float | None) -> str:
    return "" if value is None else f"{value:.2%}"
