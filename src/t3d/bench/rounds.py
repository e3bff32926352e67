"""Time variants of the same work against each other: each in its own process, one step in turn (A B C A B C ...).

Every round's seconds are kept, so that ratios are taken within a round and a busy machine slows all variants alike.
Progress goes to the logger `t3d.bench`.
"""

import logging
import os
import statistics
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from multiprocessing import get_context
from multiprocessing.connection import Connection
from multiprocessing.context import SpawnProcess
from typing import Any

import torch

from t3d.errors import T3DError
from t3d.system import children_ignore_interrupts, peak_bytes

Step = Callable[[], object]

LOGGER = logging.getLogger("t3d.bench")

_SETTLE_SECONDS = 0.05
"""Pause before each step: threads of the previous variant may keep spinning for some milliseconds."""


@dataclass(frozen=True, kw_only=True)
class Variant:
    """One way of doing the work."""

    name: str
    build: Callable[..., Step]
    """A module-level function, called in the variant's process; what it returns is timed. A GPU's step synchronises."""
    arguments: Mapping[str, Any] = field(default_factory=dict)
    """What `build` is called with."""
    skip: str = ""
    """Reason to skip it, such as a missing library."""


@dataclass(frozen=True, kw_only=True)
class Measured:
    """Measurements of a variant."""

    name: str
    seconds: Sequence[float] = ()
    """Seconds per step, one value per round; empty after an error."""
    peak_bytes: int = 0
    """Largest memory: resident above what the process held after its imports, or allocated on the GPU."""
    error: str = ""
    """Reason for missing values."""

    @property
    def median(self) -> float:
        """Median seconds of a step."""
        return statistics.median(self.seconds)


def ratios(one: Measured, other: Measured) -> list[float]:
    """Seconds of one variant divided by those of another, round by round; empty if either failed."""
    if one.error or other.error:
        return []
    return [own / base for own, base in zip(one.seconds, other.seconds, strict=True)]


def measure(
    variants: Sequence[Variant],
    *,
    rounds: int,
    threads: int,
    warm_up: int = 1,
    shortest_seconds: float = 0.0,
    on_ready: Callable[[float, float], None] | None = None,
) -> list[Measured]:
    """Build every variant in a fresh process, then time one step of each in turn, round by round.

    A variant that fails or is killed is dropped with its reason; the others continue.

    Args:
        variants: Their order is that of each round.
        rounds: Timed steps of each variant.
        threads: CPU threads of torch in every process.
        warm_up: Steps before the first round, which are not timed.
        shortest_seconds: Repeat a step within its turn until it takes so long, and take the mean: short steps would
            otherwise depend on caches that other variants have used. The last warm-up step decides how often.
        on_ready: Called for each variant that is built, with the seconds this took and those of a warm-up step.
    """
    with ExitStack() as stack:
        found: list[_Runner | Measured] = []
        for variant in variants:  # one after the other: building does not overlap what is built already
            if variant.skip:
                LOGGER.info("%s: %s", variant.name, variant.skip)
                found.append(Measured(name=variant.name, error=variant.skip))
                continue
            LOGGER.info("building %s", variant.name)
            start = time.perf_counter()
            runner = stack.enter_context(_started(variant, threads))
            step_seconds = runner.prepare(warm_up, shortest_seconds)
            if runner.error:
                LOGGER.info("%s: %s", variant.name, runner.error)
            elif on_ready is not None:
                on_ready(time.perf_counter() - start, step_seconds)
            found.append(runner)
        for number in range(1, rounds + 1):
            LOGGER.info("round %d of %d", number, rounds)
            for one in found:
                if isinstance(one, _Runner):
                    one.time_step()
        return [one.measured() if isinstance(one, _Runner) else one for one in found]


@contextmanager
def _started(variant: Variant, threads: int) -> Iterator["_Runner"]:
    """A process that serves one variant; Ctrl-C reaches the parent only, which then ends it."""
    context = get_context("spawn")
    pipe, its_end = context.Pipe()
    process = context.Process(target=_serve, args=(its_end, variant, threads))  # not a daemon: it may have workers
    with children_ignore_interrupts():
        process.start()
    its_end.close()
    try:
        yield _Runner(variant.name, pipe, process)
        pipe.close()  # which ends it
        process.join(timeout=10)
    finally:
        process.kill()
        process.join()


class _Runner:
    """The parent's side of a variant's process."""

    def __init__(self, name: str, pipe: Connection, process: SpawnProcess) -> None:
        self.name = name
        self.pipe = pipe
        self.process = process
        self.repeats = 1
        self.seconds: list[float] = []
        self.peak_bytes = 0
        self.error = ""

    def prepare(self, warm_up: int, shortest_seconds: float) -> float:
        """Wait until it is built, run the warm-up steps, and return the seconds of a turn (0 if unknown)."""
        self._receive()
        for _ in range(warm_up):
            self.time_step()
        last = self.seconds[-1] if self.seconds else 0.0
        self.seconds.clear()
        if last:
            self.repeats = max(1, round(shortest_seconds / last))
        return self.repeats * last

    def time_step(self) -> None:
        if not self.error:
            time.sleep(_SETTLE_SECONDS)
            with suppress(BrokenPipeError):  # of a process killed meanwhile; receiving finds that out
                self.pipe.send(self.repeats)
            self._receive()

    def measured(self) -> Measured:
        if self.error:
            return Measured(name=self.name, error=self.error)
        return Measured(name=self.name, seconds=tuple(self.seconds), peak_bytes=self.peak_bytes)

    def _receive(self) -> None:
        try:
            answer = self.pipe.recv()
        except (EOFError, ConnectionResetError):
            self.process.join()
            self.error = f"its process ended (code {self.process.exitcode}), perhaps for want of memory"
            return
        if isinstance(answer, str):
            self.error = answer
        elif answer is not None:
            seconds, self.peak_bytes = answer
            self.seconds.append(seconds)


def _serve(pipe: Connection, variant: Variant, threads: int) -> None:
    """The child's side: build, then time a step for each request, until the pipe is closed."""
    os.dup2(2, 1)  # output of libraries is not a result
    torch.set_num_threads(threads)
    before = peak_bytes()
    try:
        step = variant.build(**variant.arguments)
        pipe.send(None)
        while (repeats := _request(pipe)) is not None:
            pipe.send((_seconds(step, repeats), _peak_bytes_above(before)))
    except Exception as error:  # any exception is this variant's result
        pipe.send(_one_line(error))


def _request(pipe: Connection) -> int | None:
    try:
        return int(pipe.recv())
    except EOFError:
        return None


def _seconds(step: Step, repeats: int) -> float:
    start = time.perf_counter()
    for _ in range(repeats):
        step()
    return (time.perf_counter() - start) / repeats


def _peak_bytes_above(before: int) -> int:
    return torch.cuda.max_memory_allocated() if torch.cuda.is_initialized() else peak_bytes() - before


def _one_line(error: Exception) -> str:
    text = str(error).strip().partition("\n")[0]
    return text if isinstance(error, T3DError) else f"{type(error).__name__}: {text}"
