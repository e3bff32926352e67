"""Steps and chains of a study: commands of `t3d`, each in a folder of its own, resumable, some chains at a time.

What is finished is not run again, what was interrupted goes on. Which commands, and what becomes of them, is said by
the studies that use this.
"""

import contextlib
import csv
import functools
import json
import multiprocessing
import os
import re
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from t3d.evaluation.significance import t_test

if TYPE_CHECKING:
    from t3d.video.reader import VideoReader

SHAPES = "temporal-shapes"


@dataclass(frozen=True, kw_only=True)
class Step:
    """One command, and the folder it writes."""

    verb: str
    name: str
    arguments: tuple[str, ...]
    seconds: float
    """Expected on one of two busy cores, for the bill."""


class Chain(Protocol):
    """Steps that follow each other."""

    @property
    def name(self) -> str:
        """Unique; the name of its results file."""
        ...

    @property
    def steps(self) -> tuple[Step, ...]:
        """In this order."""
        ...


def run_all(
    chains: Sequence[Chain],
    row: Callable[[Any, Path], dict[str, object]],
    *,
    output: Path,
    results: Path,
    jobs: int,
) -> None:
    """Print the bill, do what is left, and write what `row` makes of each chain.

    Args:
        chains: What belongs together is done by one process, on one thread.
        row: Given a chain and `output`, its results; one of them is called `result`.
        output: Where the runs are.
        results: Folder for one JSON file a chain.
        jobs: Chains at a time.
    """
    left = {step.name + step.verb: step for chain in chains for step in chain.steps if not done(step, output)}
    hours = sum(step.seconds for step in left.values()) / 3600
    print(f"{len(chains)} runs, {len(left)} steps to do: {hours:.1f} core hours, {hours / jobs:.1f} hours", flush=True)
    results.mkdir(parents=True, exist_ok=True)
    os.environ["OMP_NUM_THREADS"] = "1"
    with ProcessPoolExecutor(jobs, mp_context=multiprocessing.get_context("spawn")) as pool:
        for finished in as_completed([pool.submit(_run, chain, row, output, results) for chain in chains]):
            print(finished.result(), flush=True)


def _run(chain: Chain, row: Callable[[Any, Path], dict[str, object]], output: Path, results: Path) -> str:
    started = time.monotonic()
    for step in chain.steps:
        folder = output / step.name
        folder.parent.mkdir(parents=True, exist_ok=True)
        with _alone(folder.with_suffix(".lock")):
            if not done(step, output):
                _t3d(step, folder, output)
    figures = row(chain, output)
    (results / f"{chain.name}.json").write_text(json.dumps(figures, indent=2) + "\n")
    return f"{chain.name}: {time.monotonic() - started:.0f} s, {figures['result']}"


def done(step: Step, output: Path) -> bool:
    """Whether a step has written its last file."""
    return (output / step.name / ("metrics.json" if step.verb == "evaluate" else "training.json")).exists()


def interval(values: Sequence[float]) -> str:
    """95 % interval of a mean share, by Student's t; splits and seeds alike count as runs. Empty below three."""
    known = t_test(values).interval if len(values) > 2 else None
    return "" if known is None else f"{max(0.0, known[0]):.1%} to {min(1.0, known[1]):.1%}"


def validation_list(folder: Path) -> Path:
    """A quarter of the built-in training videos of each class as a test list; the real test videos stay unseen."""
    from t3d.commands._datasets import resolve

    root = resolve(Path(SHAPES))
    with (root / "videos.csv").open() as file:
        rows = [row for row in csv.DictReader(file) if row["split"] == "train"]
    target = folder / "shapes-validation.csv"
    target.parent.mkdir(parents=True, exist_ok=True)
    _write_csv(target, (_moved(row, root) for row in rows))
    return target


def _moved(row: dict[str, str], root: Path) -> dict[str, str]:
    number = int(Path(row["path"]).stem)
    return {**row, "path": str(root / row["path"]), "split": "test" if number >= 75 else "train"}


def _write_csv(path: Path, rows: Iterable[dict[str, str]]) -> None:
    lines = list(rows)
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, fieldnames=list(lines[0]))
        writer.writeheader()
        writer.writerows(lines)


def _t3d(step: Step, folder: Path, output: Path) -> None:
    from t3d import cli

    _decode_once()
    arguments = [re.sub("^@", f"{output}/", argument) for argument in step.arguments]
    where = [str(folder)] if step.verb == "evaluate" else ["--output", str(folder)]
    if (folder / "trainer" / "state.pt").exists() and step.verb != "evaluate":
        where.append("--resume")
    with folder.with_suffix(".log").open("a") as log, contextlib.redirect_stdout(log):
        try:
            cli.main([step.verb, *where, *arguments])
        except SystemExit as ended:
            if ended.code:
                raise RuntimeError(f"{step.verb} {step.name} failed") from ended


def _decode_once() -> None:
    """Keep decoded videos in memory: they are small and read a thousand times, and the pictures stay the same."""
    from t3d.video import decode

    if not hasattr(decode.BACKENDS["pyav"], "cache_info"):
        decode.BACKENDS["pyav"] = functools.cache(partial(_decoded, decode.BACKENDS["pyav"]))


def _decoded(open_video: Callable[[Path, int], "VideoReader"], path: Path, num_threads: int) -> "VideoReader":
    from t3d.video.reader import ArrayVideo

    with open_video(path, num_threads) as video:
        return ArrayVideo(video.frames(range(len(video))), name=str(path), fps=video.fps)


@contextlib.contextmanager
def _alone(path: Path) -> Iterator[None]:
    """Two chains may share a step: one does it, the other waits."""
    import fcntl

    with path.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield
