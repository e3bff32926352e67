"""`t3d bench`: compare engines and precisions for scoring, and settings of training, on this machine."""

import json
import os
from pathlib import Path
from typing import Any

import torch

from t3d.bench.experiments import (
    COMPILED,
    PLAIN,
    TRAINING,
    Experiment,
    Findings,
    progress_on_stderr,
    record,
    run_experiments,
    scoring_experiment,
    training_experiment,
)
from t3d.bench.steps import Shape, check_clips, run_card
from t3d.bench.tables import markdown
from t3d.commands._console import log
from t3d.config import BenchConfig
from t3d.errors import ConfigError
from t3d.files import make_folder, write_text
from t3d.models.registry import architecture, native_input

_NETWORK = "t3d_121"


def run(config: BenchConfig, *, command: str) -> dict[str, Any]:
    """Run the benchmark, and write the results if a folder is given.

    Raises:
        CheckpointError: The run cannot be read.
        ConfigError: A network or device is unknown, or the folder cannot be written to.
    """
    device = device_of(config.accelerator)
    experiments = (_scoring if config.kind == "infer" else _training)(config, device)
    if config.output is not None:
        make_folder(config.output)
    threads = config.threads or os.cpu_count() or 1
    log("measuring; other work on this machine disturbs the figures")
    with progress_on_stderr():
        rows, limits = run_experiments(experiments, threads=threads, limits_of=device)
    tables = [experiment.table(own).figures() for experiment, own in zip(experiments, rows, strict=True)]
    findings = Findings(tables=tables, limits=limits)
    document = record(config.kind, findings, command=command, threads=threads, device=device)
    if config.output is not None:
        write_text(config.output / f"{config.kind}.md", _markdown(document))
        write_text(config.output / f"{config.kind}.json", json.dumps(document, indent=2) + "\n")
    return document


def show(document: dict[str, Any], config: BenchConfig) -> int:
    """Print the results."""
    print(json.dumps(document, indent=2) if config.json else _markdown(document).rstrip("\n"))
    return 0


def device_of(accelerator: str) -> str:
    """Device of the networks.

    Raises:
        ConfigError: There is no GPU for --accelerator cuda.
    """
    if accelerator == "cuda" and not torch.cuda.is_available():
        raise ConfigError("--accelerator cuda: no CUDA device is available; use --accelerator cpu")
    return "cuda" if accelerator != "cpu" and torch.cuda.is_available() else "cpu"


def _scoring(config: BenchConfig, device: str) -> list[Experiment]:
    batch_sizes = (1, 4) if config.batch_size is None else (config.batch_size,)
    rounds = config.rounds or 5
    if config.run is not None:
        return [
            scoring_experiment(config.run, str(config.run), shape, rounds=rounds, device=device)
            for shape in _run_shapes(config, config.run, batch_sizes)
        ]
    return [
        scoring_experiment(arch, arch, _shape(config, arch, size), rounds=rounds, device=device)
        for arch in config.arch or (_NETWORK,)
        for size in batch_sizes
    ]


def _training(config: BenchConfig, device: str) -> list[Experiment]:
    settings = (PLAIN, *TRAINING, *(COMPILED if config.compile else ()))
    return [
        training_experiment(
            arch, _shape(config, arch, config.batch_size or 4), settings, rounds=config.rounds or 5, device=device
        )
        for arch in config.arch or (_NETWORK,)
    ]


def _run_shapes(config: BenchConfig, run: Path, batch_sizes: tuple[int, ...]) -> list[Shape]:
    card = run_card(run)
    edge = card.pixels.crop_size
    return [(size, card.pixels.channels, card.clip.num_frames, edge, edge) for size in batch_sizes]


def _shape(config: BenchConfig, arch: str, batch_size: int) -> Shape:
    architecture(arch)
    edge = config.crop_size or 112
    shape = batch_size, native_input(arch)[0], config.num_frames or 16, edge, edge
    check_clips(arch, shape, training=config.kind == "train")
    return shape


def _markdown(document: dict[str, Any]) -> str:
    return markdown(document, title=f"t3d bench {document['kind']}")
