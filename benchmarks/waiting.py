"""A training step alone and beside other work, by how threads wait for each other.

Convolutions give every thread a part and wait for the last. By default libgomp's threads spin meanwhile; where another
program has their core, they spin for as long as it is served. `OMP_WAIT_POLICY=passive` lets them sleep instead. The
library reads it when it is loaded, so every variant is a program of its own.
"""

import os
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import torch

from benchmarks.options import Options
from t3d.bench.experiments import Experiment, Findings, Work, run_experiments
from t3d.bench.rounds import Step, Variant
from t3d.bench.steps import training_step

_SHAPE = (16, 3, 16, 64, 64)
"""A batch of the quick preset."""
_BUSY = "while True: pass"


def run(options: Options) -> Findings:
    """Time steps alone, and then beside one busy loop for each core."""
    cores, threads = os.cpu_count() or 1, options.cpu_threads
    variants: dict[str, dict[str, str]] = {
        "default": {"OMP_NUM_THREADS": str(threads)},
        "OMP_WAIT_POLICY=passive": {"OMP_NUM_THREADS": str(threads), "OMP_WAIT_POLICY": "passive"},
        "OMP_NUM_THREADS=1": {"OMP_NUM_THREADS": "1"},
    }
    work = [
        Work(variant=Variant(name=name, build=step_of_program, arguments={"environment": environment}))
        for name, environment in variants.items()
    ]
    tables = []
    for title, loops in ((f"Step of t3d_tiny, {threads} threads, alone", 0), (f"Beside {cores} busy loops", cores)):
        experiment = Experiment(
            title=title, work=work, rounds=options.timed_rounds, ratio="x the time", memory=False, notes=[_note()]
        )
        with _busy(loops):
            (rows,), _ = run_experiments([experiment], threads=1)
        tables.append(experiment.table(rows).figures())
    return Findings(tables=tables)


def step_of_program(environment: Mapping[str, str]) -> Step:
    """Start a program with these variables; a step is one of its own."""
    program = subprocess.Popen(
        [sys.executable, "-m", "benchmarks.waiting"],
        env={**os.environ, **environment},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        bufsize=1,
    )
    assert program.stdin is not None
    assert program.stdout is not None
    ask, answers = program.stdin, program.stdout
    answers.readline()  # it is ready

    def step() -> None:
        ask.write("\n")
        answers.readline()

    return step


@contextmanager
def _busy(loops: int) -> Iterator[None]:
    programs = [subprocess.Popen([sys.executable, "-c", _BUSY]) for _ in range(loops)]
    try:
        yield
    finally:
        for program in programs:
            program.kill()
            program.wait()


def _note() -> str:
    """What else the machine did, as far as it tells."""
    return f"load {os.getloadavg()[0]:.1f} before" if hasattr(os, "getloadavg") else ""


def _serve() -> None:
    """Make a step for every line that comes in, until the other side is closed."""
    torch.set_num_threads(int(os.environ["OMP_NUM_THREADS"]))
    step = training_step(arch="t3d_tiny", shape=_SHAPE, device="cpu")
    print(flush=True)
    for _ in sys.stdin:
        step()
        print(flush=True)


if __name__ == "__main__":
    _serve()
