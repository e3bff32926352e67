"""Measure this package beside other ways of doing the same work, and set what was found against what was aimed at."""

import json
import logging
import os
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, replace
from functools import partial
from itertools import groupby
from pathlib import Path
from typing import Any

import torch
from matplotlib.figure import Figure

from t3d.bench.growth import Growth, grow_evaluation, grow_networks
from t3d.bench.growth_plots import growth_figure
from t3d.bench.infer import bench_infer
from t3d.bench.limits import Limits, best_of, measure_limits
from t3d.bench.load import bench_load
from t3d.bench.machine import describe_machine
from t3d.bench.markdown import markdown
from t3d.bench.networks import Shape, check_clips
from t3d.bench.rendered_videos import render_videos
from t3d.bench.startup import bench_startup
from t3d.bench.tables import Table
from t3d.bench.train import bench_train
from t3d.bench.transfer import Lesson, bench_transfer
from t3d.commands._console import say
from t3d.commands._datasets import BUILT_IN, resolve
from t3d.commands._output import make_folder
from t3d.config import BenchConfig, BenchKind
from t3d.config.presets import transfer_preset
from t3d.data.unlabelled import load_unlabelled
from t3d.errors import ConfigError
from t3d.evaluation.plots import save_figure
from t3d.files import write_text
from t3d.models.registry import architecture, native_input


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


_NETWORKS = ("t3d_121", "densenet3d_121")
_CLIPS = 192
"""Of an epoch of a transfer."""
_VIDEOS = 8
"""That clips are loaded from."""


@dataclass(frozen=True, kw_only=True)
class Found:
    """What a kind of bench gives."""

    tables: Sequence[Table]
    limits: Limits | None = None
    pictures: dict[str, Figure] = field(default_factory=dict)
    """By the name that is put behind the kind's."""


def _train(config: BenchConfig) -> Found:
    shapes = {arch: _shape(config, arch, batch_size=4, crop_size=112) for arch in config.arch or _NETWORKS}
    given: dict[str, Any] = {"compiled": config.compile, "device": device_of(config), **_turns(config)}
    return _within_limits(config, [partial(bench_train, arch, shape, **given) for arch, shape in shapes.items()])


def _infer(config: BenchConfig) -> Found:
    shapes = [
        (arch, _shape(config, arch, batch_size=batch_size, crop_size=112))
        for arch in config.arch or _NETWORKS
        for batch_size in ((1, 4) if config.batch_size is None else (config.batch_size,))
    ]
    given: dict[str, Any] = {"device": device_of(config), **_turns(config)}
    return _within_limits(config, [partial(bench_infer, arch, shape, **given) for arch, shape in shapes])


def _within_limits(config: BenchConfig, benches: Sequence[Callable[[], Callable[[Limits], list[Table]]]]) -> Found:
    """Measure what the machine can do before, between and after the benches, and hold all against the best."""
    gauge = partial(measure_limits, threads=threads_of(config), device=device_of(config))
    limits, found = [gauge()], []
    for bench in benches:
        found.append(bench())
        limits.append(gauge())
    best = best_of(limits)
    return Found(tables=[table for tables in found for table in tables(best)], limits=best)


def _transfer(config: BenchConfig) -> Found:
    settings, count = transfer_preset("quick"), config.clips or _CLIPS
    videos = sorted(resolve(Path(BUILT_IN)).glob("train/*/*.mp4"))
    lesson = Lesson(
        videos=_spread(videos, count),
        arch="",
        clip=settings.clip,
        pixels=settings.pixels,
        augment=settings.augment,
        batch_size=config.batch_size or settings.optimizer.batch_size,
        num_workers=settings.run.workers,
        teacher=settings.teacher.teacher,
        teacher_size=settings.teacher.teacher_size,
        num_pictures=settings.teacher.pictures,
    )
    archs = config.arch or (settings.model.arch,)
    return Found(tables=[bench_transfer(replace(lesson, arch=arch), **_turns(config)) for arch in archs])


def _load(config: BenchConfig) -> Found:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        if config.data is None:
            videos = render_videos(folder, count=_VIDEOS)
        else:
            found = sorted({sample.path for sample in load_unlabelled(resolve(config.data)).samples})
            videos = _spread(found, _VIDEOS)
        return Found(tables=bench_load(videos, folder, rounds=_turns(config)["rounds"]))


def _startup(config: BenchConfig) -> Found:
    return Found(tables=bench_startup(rounds=_turns(config)["rounds"]))


def _growth(config: BenchConfig) -> Found:
    growths: list[Growth] = []
    for arch in config.arch or _NETWORKS[:1]:
        shape = _shape(config, arch, batch_size=1, crop_size=64)
        given: dict[str, Any] = {"device": device_of(config), **_turns(config, usual=3)}
        growths += grow_networks(arch, shape, **given)
        with tempfile.TemporaryDirectory() as folder:
            growths.append(grow_evaluation(arch, shape, Path(folder), **given))
    pictures = {
        f"{arch}-{axis}": growth_figure(list(works))
        for (arch, axis), works in groupby(growths, key=lambda growth: (growth.arch, growth.axis))
    }
    return Found(tables=[growth.table() for growth in growths], pictures=pictures)


KINDS: dict[BenchKind, Callable[[BenchConfig], Found]] = {
    "train": _train,
    "infer": _infer,
    "load": _load,
    "transfer": _transfer,
    "startup": _startup,
    "growth": _growth,
}


def _shape(config: BenchConfig, arch: str, *, batch_size: int, crop_size: int) -> Shape:
    edge = config.crop_size or crop_size
    shape = config.batch_size or batch_size, native_input(arch)[0], config.num_frames or 16, edge, edge
    check_clips(arch, shape, training=config.kind == "train")
    return shape


def _spread(videos: list[Path], count: int) -> list[Path]:
    """So many of them, evenly spaced."""
    return videos[:: max(1, len(videos) // count)][:count]


def _turns(config: BenchConfig, *, usual: int = 5) -> dict[str, int]:
    return {"rounds": config.rounds or usual, "threads": threads_of(config)}


def threads_of(config: BenchConfig) -> int:
    """CPU threads of every arm; loading is measured on one, as in a process that decodes for a training."""
    return 1 if config.kind in ("load", "startup") else config.threads or os.cpu_count() or 1


def device_of(config: BenchConfig) -> str:
    """Where networks are; what is measured of files and of the program is on the CPU.

    Raises:
        ConfigError: A GPU was asked for and there is none.
    """
    if config.accelerator == "cuda" and not torch.cuda.is_available():
        raise ConfigError("--accelerator cuda: no CUDA device is available; use --accelerator cpu")
    on_gpu = config.kind in ("train", "infer", "growth") and config.accelerator != "cpu" and torch.cuda.is_available()
    return "cuda" if on_gpu else "cpu"
