"""What the program asks of the operating system: memory, signals, processes."""

import ctypes
import os
import resource
import signal
import sys
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, as_completed, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from multiprocessing import get_context, parent_process
from pathlib import Path
from threading import Thread
from typing import TypeVar

from t3d.errors import T3DError

_TRIM_THRESHOLD, _MMAP_THRESHOLD, _MMAP_MAX = -1, -3, -4
"""Numbers of glibc's `malloc.h`."""
_LARGE = 16 * 2**20
"""Bytes; with smaller pieces a step takes still less memory, and twice the time."""


def keep_freed_memory() -> bool:
    """Use freed memory again instead of giving it back; say whether this C library could be told."""
    return _tell({_MMAP_MAX: 0, _TRIM_THRESHOLD: -1})


def return_freed_memory() -> bool:
    """Give large pieces back as soon as they are freed; say whether this C library could be told."""
    return _tell({_MMAP_MAX: 65536, _MMAP_THRESHOLD: _LARGE, _TRIM_THRESHOLD: _LARGE})


def _tell(settings: Mapping[int, int]) -> bool:
    if sys.platform != "linux":
        return False
    libc = ctypes.CDLL(None)
    if not hasattr(libc, "mallopt"):  # as in musl
        return False
    return all(libc.mallopt(option, value) for option, value in settings.items())


def ignore_interrupts(worker: int) -> None:
    """Leave Ctrl-C to the main process: what a worker of a loader does first."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)


@contextmanager
def children_ignore_interrupts() -> Iterator[None]:
    """Leave Ctrl-C to this process, from the first moment of those that are started meanwhile: they inherit it."""
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


def is_first_process() -> bool:
    """Whether this process speaks and writes for all that torchrun, SLURM or Fabric started."""
    return all(os.environ.get(name, "0") == "0" for name in ("RANK", "SLURM_PROCID", "LOCAL_RANK"))


Task = TypeVar("Task")
Result = TypeVar("Result")


def in_processes(
    function: Callable[[Task], Result], tasks: Iterable[Task], *, num_workers: int
) -> Generator[Result, None, None]:
    """Give the results in the order in which they come; when the iterator is closed, the processes are killed.

    Args:
        function: A function of a module.
        tasks: What it is called with, one by one; read a little ahead, for there may be a hundred thousand.
        num_workers: Processes, of one thread each; 0 works in this one.

    Raises:
        T3DError: A process died. What the function raises is raised here.
    """
    if num_workers == 0:
        yield from map(function, tasks)
        return
    with ProcessPoolExecutor(num_workers, mp_context=get_context("spawn"), initializer=_begin) as pool:
        try:
            yield from _results(pool, function, tasks, most=2 * num_workers)
        except BrokenProcessPool as error:
            raise T3DError("a worker died, perhaps for want of memory; give fewer --workers") from error
        except BaseException:
            for process in list(pool._processes.values()):  # `kill_workers` is of Python 3.14
                process.kill()
            raise


def _begin() -> None:
    """What a process does first: take one thread, and watch for the end of its parent, which may have been killed."""
    import torch

    torch.set_num_threads(1)
    Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    parent = parent_process()
    assert parent is not None
    parent.join()
    os._exit(1)


def _results(
    pool: ProcessPoolExecutor, function: Callable[[Task], Result], tasks: Iterable[Task], *, most: int
) -> Iterator[Result]:
    waiting: set[Future[Result]] = set()
    for task in tasks:
        with children_ignore_interrupts():  # a process may be started for it
            waiting.add(pool.submit(function, task))
        if len(waiting) == most:
            done, waiting = wait(waiting, return_when=FIRST_COMPLETED)
            yield from (future.result() for future in done)
    yield from (future.result() for future in as_completed(waiting))


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


def cpu_bf16_supported() -> bool:
    """Whether this processor computes in bf16 itself (AVX512_BF16, AMX, Arm's BF16); others emulate it, slowly."""
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        return not _BF16_FLAGS.isdisjoint(cpuinfo.read_text(encoding="utf-8", errors="replace").split())
    import torch

    asked = (getattr(torch.cpu, name, None) for name in ("_is_avx512_bf16_supported", "_is_amx_tile_supported"))
    return any(supported is not None and supported() for supported in asked)


_BF16_FLAGS = {"avx512_bf16", "amx_bf16", "bf16"}
"""Names of the units in Linux's list of a processor's features."""
