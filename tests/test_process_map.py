import os
import signal
import time
from collections.abc import Iterator
from multiprocessing import get_context
from multiprocessing.connection import Connection

import pytest

from t3d.errors import ConfigError, WorkerError
from t3d.workers import process_map


def _square(number: int) -> tuple[int, int]:
    if number == 3:
        raise ConfigError("three")
    return number * number, os.getpid()


def _die(number: int) -> int:
    os.kill(os.getpid(), signal.SIGKILL)
    return number


@pytest.mark.parametrize("num_workers", [0, 2])
def test_every_result_comes_and_errors_too(num_workers: int) -> None:
    results = process_map(_square, [0, 1, 2, 4, 5, 6, 3], num_workers=num_workers)
    found = [next(results) for _ in range(4)]
    assert (os.getpid() in {process for _, process in found}) == (num_workers == 0)
    with pytest.raises(ConfigError, match="three"):
        found += list(results)
    assert {value for value, _ in found} <= {0, 1, 4, 16, 25, 36}


def test_a_process_that_dies_is_one_line() -> None:
    with pytest.raises(WorkerError, match="SIGKILL"):
        list(process_map(_die, [1], num_workers=1))


def test_tasks_are_read_only_a_little_ahead() -> None:
    read = []

    def tasks() -> Iterator[int]:
        for number in range(10, 30):
            read.append(number)
            yield number

    results = process_map(_square, tasks(), num_workers=1)
    next(results)
    assert len(read) == 2
    results.close()


def _be_killed(pipe: Connection) -> None:
    results = process_map(_square, range(10, 20), num_workers=1)
    pipe.send(next(results)[1])
    os.kill(os.getpid(), signal.SIGKILL)


def test_no_process_outlives_a_parent_that_was_killed() -> None:
    context = get_context("spawn")
    pipe, its_end = context.Pipe()
    parent = context.Process(target=_be_killed, args=(its_end,))
    parent.start()
    worker = pipe.recv()
    parent.join()
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline:
        try:
            os.kill(worker, 0)
        except ProcessLookupError:
            return
        time.sleep(0.01)
    pytest.fail("the worker is still there")


def test_only_the_processes_of_the_pool_are_killed() -> None:
    own = get_context("spawn").Process(target=time.sleep, args=(60,))
    results = process_map(_square, range(10, 20), num_workers=1)
    _, worker = next(results)
    own.start()
    results.close()
    assert own.is_alive()
    with pytest.raises(ProcessLookupError):
        os.kill(worker, 0)
    own.kill()
    own.join()
