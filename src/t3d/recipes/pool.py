"""The same work on many things in processes of their own, ended at once when the command is."""

import os
from collections.abc import Callable, Generator, Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, as_completed, wait
from concurrent.futures.process import BrokenProcessPool
from multiprocessing import get_context, parent_process
from threading import Thread
from typing import TypeVar

import torch

from t3d.engine.interrupts import children_ignore_interrupts
from t3d.errors import T3DError

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
