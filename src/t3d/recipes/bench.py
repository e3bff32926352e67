"""Measure this package beside other ways of doing the same work, and set what was found against what was aimed at."""

import json
import logging
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure

from t3d.bench.machine import describe_machine
from t3d.bench.markdown import markdown
from t3d.config import BenchConfig
from t3d.engine.plots import save_figure
from t3d.files import write_text
from t3d.models.registry import architecture
from t3d.recipes.bench_kinds import KINDS, device_of, threads_of
from t3d.recipes.console import say
from t3d.recipes.folders import make_folder


def run(config: BenchConfig, *, command: str) -> dict[str, Any]:
    """Measure, and write the document where the flags name a folder.

    Raises:
        ConfigError: A network or device is unknown, or the folder cannot be written to.
    """
    for arch in config.arch:
        architecture(arch)
    if config.output is not None:
        make_folder(config.output)
    machine = describe_machine(threads=threads_of(config), device=device_of(config))
    say("measuring; what else this machine does meanwhile is measured, too")
    with _told("t3d.bench"):
        found = KINDS[config.kind](config)
    document = {
        "kind": config.kind,
        "command": command,
        "machine": machine,
        "limits": None if found.limits is None else asdict(found.limits),
        "tables": [table.figures() for table in found.tables],
    }
    if config.output is not None:
        _write(config.output / config.kind, document, found.pictures)
    return document


def show(document: dict[str, Any], config: BenchConfig) -> int:
    """Print the document."""
    print(json.dumps(document, indent=2) if config.json else markdown(document).rstrip("\n"))
    return 0


class _Teller(logging.Handler):
    """Shows what is logged as progress."""

    def emit(self, record: logging.LogRecord) -> None:
        say(record.getMessage())


@contextmanager
def _told(name: str) -> Iterator[None]:
    """Show what is logged under a name."""
    logger, teller = logging.getLogger(name), _Teller()
    before = logger.level
    logger.setLevel(logging.INFO)
    logger.addHandler(teller)
    try:
        yield
    finally:
        logger.removeHandler(teller)
        logger.setLevel(before)


def _write(path: Path, document: dict[str, Any], pictures: Mapping[str, Figure]) -> None:
    for name, figure in pictures.items():
        save_figure(figure, path.with_name(f"{path.name}-{name}.png"))
    write_text(path.with_suffix(".md"), markdown(document))
    write_text(path.with_suffix(".json"), json.dumps(document, indent=2) + "\n")
