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


def test_without_workers_it_is_a_plain_map() -> None:
    results = process_map(_square, [1, 2, 3], num_workers=0)
    assert [next(results), next(results)] == [(1, os.getpid()), (4, os.getpid())]
    with pytest.raises(ConfigError, match="three"):
        next(results)


def test_every_result_comes_and_errors_too_and_only_its_processes_are_killed() -> None:
    read = []

    def tasks() -> Iterator[int]:
        for number in (0, 1, 2, 4, 5, 6, 3):
            read.append(number)
            yield number

    own = get_context("fork").Process(target=time.sleep, args=(600,))
    own.start()
    results = process_map(_square, tasks(), num_workers=1)
    found = [next(results)]
    assert len(read) == 2  # a little ahead
    with pytest.raises(ConfigError, match="three"):
        found += list(results)
    assert {value for value, _ in found} <= {0, 1, 4, 16, 25, 36}
    (worker,) = {process for _, process in found}
    with pytest.raises(ProcessLookupError):
        os.kill(worker, 0)
    assert own.is_alive()
    own.kill()
    own.join()


def test_a_process_that_dies_is_one_line() -> None:
    with pytest.raises(WorkerError, match="SIGKILL"):
        list(process_map(_die, [1], num_workers=1))


def _be_killed(pipe: Connection) -> None:
    results = process_map(_square, range(10, 20), num_workers=1)
    pipe.send(next(results)[1])
    os.kill(os.getpid(), signal.SIGKILL)


def test_no_process_outlives_a_parent_that_was_killed() -> None:
    context = get_context("fork")
    pipe, its_end = context.Pipe()
    parent = context.Process(target=_be_killed, args=(its_end,))
    parent.start()
    worker = pipe.recv()
    parent.join()
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        try:
            os.kill(worker, 0)
        except ProcessLookupError:
            return
        time.sleep(0.01)
    pytest.fail("the worker is still there")
