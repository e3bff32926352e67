"""List the networks with their parameters, cost and native input."""

import json
from dataclasses import asdict
from typing import Any

from rich.console import Console
from rich.table import Table

from t3d.config import ModelsConfig
from t3d.models import describe_models


def run(config: ModelsConfig) -> list[Any]:
    """One row a network."""
    return list(describe_models())


def show(rows: list[Any], config: ModelsConfig) -> int:
    """Print the rows."""
    if config.json:
        print(json.dumps([asdict(row) for row in rows], indent=2))
        return 0
    table = Table("name", "parameters", "GFLOPs", "input (C x T x H x W)", title="2 operations a multiply-add")
    for row in rows:
        size = " x ".join(str(length) for length in row.input)
        table.add_row(row.name, f"{row.parameters / 1e6:.2f} M", f"{row.gflops:.1f}", size)
    Console().print(table)
    return 0
