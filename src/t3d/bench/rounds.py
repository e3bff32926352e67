"""Times arms against each other, each in a process of its own, in turn: A B C A B C ... What a step does is its own.

Nothing here prints, though what is going on is logged, and nothing is averaged away: every round's seconds are kept, so
that ratios are taken within a round and a busy machine is unfair to all arms alike.
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

_LOG = logging.getLogger(__name__)

_SETTLE_SECONDS = 0.05
"""Pause before each step: threads of the arm before it may go on spinning for some milliseconds."""


@dataclass(frozen=True, kw_only=True)
class Arm:
    """One way of doing the work."""

    name: str
    build: Callable[..., Step]
    """A function of a module, called in the arm's process; what it returns is timed. A GPU's step ends by waiting."""
    arguments: Mapping[str, Any] = field(default_factory=dict)
    """What `build` is called with."""


@dataclass(frozen=True, kw_only=True)
class Measured:
    """What an arm took."""

    name: str
    seconds: Sequence[float] = ()
    """Of one step, a round each; none where there is an error."""
    peak_bytes: int = 0
    """Largest memory: resident above what the process held after its imports, or allocated on the GPU."""
    error: str = ""
    """Why there are no figures."""

    @property
    def median(self) -> float:
        """Median seconds of a step."""
        return statistics.median(self.seconds)


def ratios(one: Measured, other: Measured) -> list[float]:
    """Seconds of one arm divided by those of another, round by round; nothing where either failed."""
    if one.error or other.error:
        return []
    return [own / base for own, base in zip(one.seconds, other.seconds, strict=True)]


def measure(
    arms: Sequence[Arm], *, rounds: int, threads: int, warm_up: int = 1, shortest_seconds: float = 0.0
) -> list[Measured]:
    """Build every arm in a fresh process, then ask them in turn for a step each, round by round.

    An arm that fails or is killed is left out from there on, and says why; the others go on.

    Args:
        arms: The arms; their order is that of each round.
        rounds: Timed steps of each arm.
        threads: CPU threads of torch in every process.
        warm_up: Steps before the first round, which are not timed.
        shortest_seconds: Repeat a step within its turn until it takes so long, and take the mean: for steps so short
            that the caches the other arms have used would decide. The last step of the warm-up tells how often.
    """
    with ExitStack() as stack:
        runners = []
        for arm in arms:  # one after the other: what builds does not meet what is built
            _LOG.info("building %s", arm.name)
            runner = stack.enter_context(_started(arm, threads))
            runner.prepare(warm_up, shortest_seconds)
            runners.append(runner)
        for number in range(1, rounds + 1):
            _LOG.info("round %d of %d", number, rounds)
            for runner in runners:
                runner.time_step()
        return [runner.measured() for runner in runners]


@contextmanager
def _started(arm: Arm, threads: int) -> Iterator["_Runner"]:
    """A process that serves one arm; Ctrl-C is this process's business, which then ends it."""
    context = get_context("spawn")
    pipe, its_end = context.Pipe()
    process = context.Process(target=_serve, args=(its_end, arm, threads))  # not a daemon: it may have workers
    with children_ignore_interrupts():
        process.start()
    its_end.close()
    try:
        yield _Runner(arm.name, pipe, process)
        pipe.close()  # which ends it
        process.join(timeout=10)
    finally:
        process.kill()
        process.join()


class _Runner:
    """This side of an arm's process."""

    def __init__(self, name: str, pipe: Connection, process: SpawnProcess) -> None:
        self.name = name
        self.pipe = pipe
        self.process = process
        self.repeats = 1
        self.seconds: list[float] = []
        self.peak_bytes = 0
        self.error = ""

    def prepare(self, warm_up: int, shortest_seconds: float) -> None:
        """Wait until it is built, make the steps that are not timed, and find how often one is to be repeated."""
        self._listen()
        for _ in range(warm_up):
            self.time_step()
        if self.seconds:
            self.repeats = max(1, round(shortest_seconds / self.seconds[-1]))
        self.seconds.clear()

    def time_step(self) -> None:
        if not self.error:
            time.sleep(_SETTLE_SECONDS)
            with suppress(BrokenPipeError):  # of a process killed while it waited; listening says so
                self.pipe.send(self.repeats)
            self._listen()

    def measured(self) -> Measured:
        if self.error:
            return Measured(name=self.name, error=self.error)
        return Measured(name=self.name, seconds=tuple(self.seconds), peak_bytes=self.peak_bytes)

    def _listen(self) -> None:
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


def _serve(pipe: Connection, arm: Arm, threads: int) -> None:
    """The other side: build and say so, then a step for each request, until the pipe is closed."""
    os.dup2(2, 1)  # what libraries print is no result
    torch.set_num_threads(threads)
    before = peak_bytes()
    try:
        step = arm.build(**arm.arguments)
        pipe.send(None)
        while (repeats := _request(pipe)) is not None:
            pipe.send((_seconds(step, repeats), _peak_bytes_above(before)))
    except Exception as error:  # whatever it is, it is this arm's result
        pipe.send(_words(error))


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


def _words(error: Exception) -> str:
    """One line."""
    text = str(error).strip().partition("\n")[0]
    return text if isinstance(error, T3DError) else f"{type(error).__name__}: {text}"
