"""Worker processes: read their results, explain why one ended early, and leave none running.

Workers ignore signals to end (`children_ignore_interrupts`): the main process finishes its work with their help and
then ends them. A worker may still be killed, for lack of memory or by another signal.
"""

import gc
import os
import signal
import time
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, as_completed, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from multiprocessing import active_children, get_context, parent_process
from multiprocessing.process import BaseProcess
from pickle import UnpicklingError
from threading import Thread, current_thread, main_thread
from typing import NoReturn, Protocol, TypeVar, runtime_checkable

from t3d.errors import WorkerError
from t3d.system import children_ignore_interrupts, ignore_interrupts, was_interrupted

_GRACE_SECONDS = 1.0
"""If all processes are signalled, a worker may die before this process receives the signal."""
_RAISED_IN_WORKER = "Caught "
"""Start of PyTorch's message for an error raised by the dataset in a worker; the worker itself is alive."""

Item = TypeVar("Item")
Item_co = TypeVar("Item_co", covariant=True)
Task = TypeVar("Task")
Result = TypeVar("Result")


@runtime_checkable
class Loader(Protocol[Item_co]):
    """The part of `DataLoader` used here."""

    num_workers: int

    def __iter__(self) -> Iterator[Item_co]:
        """Start the workers, and yield their results."""
        ...


def iterate(loader: Loader[Item]) -> Iterator[Item]:
    """Iterate over a loader; a dead worker becomes a WorkerError, or the interrupt that killed it.

    Raises:
        KeyboardInterrupt: A worker died, and this process has been told to end.
        WorkerError: A worker died otherwise. Exceptions of the dataset are raised unchanged.
    """
    if loader.num_workers == 0:
        yield from loader
        return
    items, workers = None, active_children()  # of an earlier epoch
    try:
        with children_ignore_interrupts(), _no_sigchld_handler():
            items = iter(loader)
        workers = active_children()
        yield from items
    except (KeyboardInterrupt, Exception) as error:
        is_lost = _is_of_worker(error, workers)
        _shut_down(items)
        if is_lost:
            explain_death(workers)
        raise


def process_map(
    function: Callable[[Task], Result], tasks: Iterable[Task], *, num_workers: int
) -> Generator[Result, None, None]:
    """Yield results in order of completion; closing the iterator kills the processes.

    Args:
        function: A module-level function.
        tasks: Its arguments, one by one; read lazily, because there may be a hundred thousand.
        num_workers: Processes, with one thread each; 0 works in this process.

    Raises:
        KeyboardInterrupt: A process died, and this one has been told to end.
        WorkerError: A process died otherwise. Exceptions of the function are raised here.
    """
    if num_workers == 0:
        yield from map(function, tasks)
        return
    with ProcessPoolExecutor(num_workers, mp_context=get_context("spawn"), initializer=_begin) as pool:
        processes = pool._processes  # grows with the tasks
        try:
            try:
                yield from _results(pool, function, tasks, most=2 * num_workers)
            except BrokenProcessPool:
                explain_death(list(processes.values()))
        except BaseException:
            for process in list(processes.values()):  # `kill_workers` is of Python 3.14
                process.kill()
            raise


def explain_death(workers: Sequence[BaseProcess] = ()) -> NoReturn:
    """Raise the error for a process that ended early.

    Args:
        workers: The possible processes; the exit code shows the cause.

    Raises:
        KeyboardInterrupt: This process receives a signal to end, at most a second later.
        WorkerError: Otherwise.
    """
    _wait_for(was_interrupted)
    if was_interrupted():
        raise KeyboardInterrupt from None
    codes = [worker.exitcode or 0 for worker in workers]
    signals = {signal.Signals(-code) for code in codes if code < 0}
    killed = f" (killed by {', '.join(sorted(number.name for number in signals))})" if signals else ""
    if any(number.name == "SIGBUS" for number in signals):
        raise WorkerError(f"a worker died{killed}: /dev/shm is full; enlarge it, or give fewer --workers")
    raise WorkerError(f"a worker died{killed}, perhaps for want of memory; give fewer --workers")


@contextmanager
def no_worker_left() -> Iterator[None]:
    """Kill processes started and not ended in this block: a worker may be stuck in a damaged video."""
    before = set(active_children())
    try:
        yield
    finally:
        if set(active_children()) - before:
            gc.collect()  # loaders end their workers themselves
        for process in set(active_children()) - before:
            process.kill()
            process.join()


def _wait_for(condition: Callable[[], bool]) -> bool:
    deadline = time.monotonic() + _GRACE_SECONDS
    while not condition() and time.monotonic() < deadline:
        time.sleep(0.01)
    return condition()


def _shut_down(items: object) -> None:
    """End the workers of a loader's iterator explicitly.

    An exception may keep the iterator in a reference cycle, and its finalizer would wait for dead workers.
    """
    shut_down = getattr(items, "_shutdown_workers", None)
    if shut_down is not None:
        shut_down()


def _is_of_worker(error: BaseException, workers: Sequence[BaseProcess]) -> bool:
    """Whether a worker's death caused this error: its pipe broke, PyTorch reports it, or a worker is gone."""
    if not isinstance(error, OSError | EOFError | RuntimeError | UnpicklingError):
        return False
    if str(error).startswith(_RAISED_IN_WORKER):
        return False
    if isinstance(error, ConnectionError | EOFError | UnpicklingError) or "DataLoader worker" in str(error):
        return True
    return _wait_for(lambda: was_interrupted() or any(not worker.is_alive() for worker in workers))


@contextmanager
def _no_sigchld_handler() -> Iterator[None]:
    """Remove the SIGCHLD handler that PyTorch installs when it starts workers.

    It raises at any point of this process, even while a file is written. Without it, a loader notices a dead worker
    within five seconds.
    """
    if not hasattr(signal, "SIGCHLD") or current_thread() is not main_thread():
        yield
        return
    before = signal.getsignal(signal.SIGCHLD)
    try:
        yield
    finally:
        if before is not None:
            signal.signal(signal.SIGCHLD, before)


def _results(
    pool: ProcessPoolExecutor, function: Callable[[Task], Result], tasks: Iterable[Task], *, most: int
) -> Iterator[Result]:
    waiting: set[Future[Result]] = set()
    for task in tasks:
        with children_ignore_interrupts():  # may start a process
            waiting.add(pool.submit(function, task))
        if len(waiting) == most:
            done, waiting = wait(waiting, return_when=FIRST_COMPLETED)
            yield from (future.result() for future in done)
    yield from (future.result() for future in as_completed(waiting))


def _begin() -> None:
    """Initialise a process: one thread, and exit if the parent is killed."""
    import torch

    ignore_interrupts()
    torch.set_num_threads(1)
    Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    parent = parent_process()
    assert parent is not None
    parent.join()
    os._exit(1)
