"""Time and memory of a forward pass on this machine, in a process of its own. What it computes is not looked at."""

import multiprocessing
import resource
import signal
import statistics
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, TypeVar

import torch

from t3d.models import create_model

Result = TypeVar("Result")


@dataclass(frozen=True, kw_only=True)
class Cost:
    """Of one clip through one network."""

    milliseconds: float
    """Median of the repetitions."""
    peak_bytes: int
    """Largest resident memory above what the process held before it built the network: weights and activations."""


def measure_forward(
    arch: str, shape: tuple[int, int, int, int], overrides: Mapping[str, Any], *, repeats: int = 3
) -> Cost | None:
    """Run one random clip through a network with random weights, in float32 on the CPU, with this process's threads.

    Args:
        arch: Name of the network.
        shape: Channels, frames, height and width of the clip.
        overrides: Literals to replace.
        repeats: Measured passes, after one that is not.

    Returns:
        None where the process was killed, as for want of memory.
    """
    try:
        return in_fresh_process(_measure, arch, shape, dict(overrides), torch.get_num_threads(), repeats)
    except EOFError:
        return None


def in_fresh_process(function: Callable[..., Result], *arguments: Any) -> Result:  # noqa: ANN401
    """Call a function where nothing was computed before, so that the peak of memory is its own.

    Ctrl-C ends the process, too, without a word from it.

    Raises:
        EOFError: The process was killed.
    """
    context = multiprocessing.get_context("spawn")
    receiver, sender = context.Pipe(duplex=False)
    process = context.Process(target=_answer, args=(sender, function, *arguments), daemon=True)
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)  # the process inherits it
    try:
        process.start()
    finally:
        signal.signal(signal.SIGINT, before)
    sender.close()
    try:
        result: Result = receiver.recv()
    finally:
        process.kill()
        process.join()
    return result


def _answer(sender: Connection, function: Callable[..., object], *arguments: object) -> None:
    sender.send(function(*arguments))


def peak_bytes() -> int:
    """Largest resident memory of this process so far.

    Linux counts what the parent held when it started this process in `ru_maxrss`, but not in `VmHWM`.
    """
    status = Path("/proc/self/status")
    if status.exists():
        lines = (line.split() for line in status.read_text().splitlines())
        return next(int(words[1]) for words in lines if words[0] == "VmHWM:") * 1024
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024


def median_seconds(step: Callable[[], object], *, repeats: int) -> float:
    """Time a step, after one that fills caches and is not timed."""
    step()
    seconds = []
    for _ in range(repeats):
        start = time.perf_counter()
        step()
        seconds.append(time.perf_counter() - start)
    return statistics.median(seconds)


def _measure(
    arch: str, shape: tuple[int, int, int, int], overrides: dict[str, Any], threads: int, repeats: int
) -> Cost:
    torch.set_num_threads(threads)
    before = peak_bytes()
    generator = torch.Generator().manual_seed(0)
    model = create_model(arch, generator=generator, **overrides).eval()
    clip = torch.randn(1, *shape, generator=generator)
    with torch.inference_mode():
        seconds = median_seconds(lambda: model(clip), repeats=repeats)
    return Cost(milliseconds=1000 * seconds, peak_bytes=peak_bytes() - before)
