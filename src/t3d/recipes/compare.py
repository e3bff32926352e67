"""Table the metrics of evaluated runs, with means over splits and seeds."""

import json
import statistics
from collections import defaultdict
from collections.abc import Sequence
from typing import Any

from t3d.config import CompareConfig
from t3d.engine.files import write_text
from t3d.errors import CheckpointError

_HEAD = "| run | dataset | split | seed | views | videos | video top-1 | video top-5 | mean class | clip top-1 |"


def run(config: CompareConfig) -> str:
    """A Markdown table: one row a run, then a mean for every dataset that has several.

    Raises:
        CheckpointError: A folder has no readable `metrics.json`.
    """
    metrics = {str(path): _read(path) for path in config.runs}
    lines = [_HEAD, "|" + "---|" * _HEAD.count(" | ") + "---|"]
    lines += [_row(name, values) for name, values in metrics.items()]
    by_dataset: dict[tuple[str, str], list[dict[str, Any]]] = defaultdict(list)
    for values in metrics.values():
        by_dataset[(values["dataset"]["name"], values["model"]["arch"])].append(values)
    lines += [_mean_row(*key, values) for key, values in by_dataset.items() if len(values) > 1]
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
        values["video"]["top1"], values["dataset"]["name"]
    except FileNotFoundError:
        raise CheckpointError(f"{file}: no metrics; run t3d evaluate {path} first") from None
    except (ValueError, KeyError, TypeError, UnicodeDecodeError):
        raise CheckpointError(f"{file}: not the metrics of an evaluation; run t3d evaluate again") from None
    return values


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


def _mean_row(dataset: str, arch: str, runs: Sequence[dict[str, Any]]) -> str:
    splits = sorted({values["dataset"]["split_number"] for values in runs})
    seeds = sorted({values["seed"] for values in runs})
    columns = [[values["video"][name] for values in runs] for name in ("top1", "top5", "mean_class")]
    columns.append([values["clip"]["top1"] or 0.0 for values in runs])
    means = [f"{statistics.mean(column):.2%} ± {statistics.stdev(column):.2%}" for column in columns]
    cells = [f"**mean of {len(runs)}**, {arch}", dataset, _listed(splits), _listed(seeds), "", "", *means]
    return "| " + " | ".join(cells) + " |"


def _listed(values: Sequence[int]) -> str:
    return ", ".join(map(str, values))


def _percent(value: float | None) -> str:
    return "" if value is None else f"{value:.2%}"
