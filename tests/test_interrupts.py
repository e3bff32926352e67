"""Signals to end, and workers that die of them or otherwise: injected, never a matter of timing."""

import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from multiprocessing import get_context
from multiprocessing.connection import Connection
from pathlib import Path
from pickle import UnpicklingError
from types import SimpleNamespace

import pytest
from torch.utils.data import DataLoader, Dataset

from program import Call
from t3d import workers
from t3d.commands import data as data_command
from t3d.errors import DecodeError, WorkerError
from t3d.system import ENDING, children_ignore_interrupts, interruptible, interrupts_deferred, was_interrupted
from t3d.workers import iterate

if signal.getsignal(signal.SIGHUP) is signal.SIG_IGN:  # of `nohup pytest`
    ENDING = tuple(number for number in ENDING if number != signal.SIGHUP)


@pytest.fixture(autouse=True)
def _handlers_are_put_back() -> Iterator[None]:
    before = {number: signal.getsignal(number) for number in (*ENDING, signal.SIGCHLD)}
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, [])
    yield
    assert {number: signal.getsignal(number) for number in before} == before
    assert signal.pthread_sigmask(signal.SIG_BLOCK, []) == mask


@pytest.fixture(autouse=True)
def _short_grace(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(workers, "_GRACE_SECONDS", 0.2)


@pytest.mark.parametrize("number", ENDING)
def test_every_signal_to_end_is_an_interrupt(number: int) -> None:
    with interruptible():
        assert not was_interrupted()
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(number)
        assert was_interrupted()


def test_a_signal_told_twice_is_one_request() -> None:
    """As `timeout` does: its child, then the child's group."""
    with interruptible():
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGTERM)
        signal.raise_signal(signal.SIGTERM)
    noted: list[int] = []
    with interruptible(), interrupts_deferred(lambda: noted.append(1)):
        signal.raise_signal(signal.SIGTERM)
        signal.raise_signal(signal.SIGTERM)
    assert noted == [1]


def test_a_signal_that_meets_a_destructor_is_not_lost(capfd: pytest.CaptureFixture[str]) -> None:
    """What is raised in a `__del__` is printed and ignored."""

    class Struck:
        def __del__(self) -> None:
            signal.raise_signal(signal.SIGTERM)

    def free() -> None:
        struck = Struck()
        del struck
        time.sleep(10)

    with interruptible(), pytest.raises(KeyboardInterrupt):
        free()
    assert capfd.readouterr().err == ""


def test_what_a_process_was_started_to_ignore_stays_ignored() -> None:
    before = signal.signal(signal.SIGTERM, signal.SIG_IGN)
    try:
        with interruptible():
            signal.raise_signal(signal.SIGTERM)
            assert not was_interrupted()
    finally:
        signal.signal(signal.SIGTERM, before)


def test_a_signal_while_children_start_is_acted_on_afterwards() -> None:
    done = []

    @children_ignore_interrupts()
    def start_slowly() -> None:
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(0)
        done.append(1)

    with interruptible(), pytest.raises(KeyboardInterrupt):
        start_slowly()
    assert done == [1]


def _survive(pipe: Connection) -> None:
    for number in ENDING:
        os.kill(os.getpid(), number)
    pipe.send("alive")


def test_children_ignore_signals_from_their_first_moment() -> None:
    context = get_context("fork")
    pipe, its_end = context.Pipe()
    child = context.Process(target=_survive, args=(its_end,))
    with children_ignore_interrupts():
        child.start()
    its_end.close()
    assert pipe.recv() == "alive"
    child.join()


class _Struck(Dataset[int]):
    """Does something before the third item, in the worker that makes it."""

    def __init__(self, strike: Callable[[], None]) -> None:
        self.strike = strike

    def __len__(self) -> int:
        return 6

    def __getitem__(self, index: int) -> int:
        if index == 2:
            self.strike()
        return index


def _kill() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def _end_softly() -> None:
    for number in ENDING:
        os.kill(os.getpid(), number)


def _refuse() -> None:
    raise DecodeError("video.mp4: truncated")


def _lack() -> None:
    raise PermissionError("video.mp4")


def _loader(strike: Callable[[], None]) -> "DataLoader[int]":
    return DataLoader(_Struck(strike), batch_size=None, num_workers=2, multiprocessing_context="fork")


def test_workers_outlive_signals_to_end() -> None:
    assert list(iterate(_loader(_end_softly))) == list(range(6))


def test_a_killed_worker_is_one_line_that_names_its_signal() -> None:
    with interruptible(), pytest.raises(WorkerError, match=r"SIGKILL.*--workers"):
        list(iterate(_loader(_kill)))


@pytest.mark.parametrize(("strike", "error"), [(_refuse, DecodeError), (_lack, PermissionError)])
def test_what_a_dataset_raises_in_a_worker_is_no_death(strike: Callable[[], None], error: type[Exception]) -> None:
    with interruptible(), pytest.raises(error, match=r"video\.mp4"):
        list(iterate(_loader(strike)))


class _Broken:
    """A loader whose workers' pipes break."""

    num_workers = 2

    def __init__(self, error: Exception) -> None:
        self.error = error

    def __iter__(self) -> Iterator[int]:
        yield 0
        raise self.error


LOST = (
    ConnectionResetError(104, "Connection reset by peer"),
    BrokenPipeError(32, "Broken pipe"),
    EOFError(),
    UnpicklingError("pickle data was truncated"),
    RuntimeError("DataLoader worker (pid 7) is killed by signal: Terminated."),
    FileNotFoundError(2, "No such file or directory"),  # the socket of a worker that hands over its tensors
)


@pytest.mark.parametrize("error", LOST, ids=lambda error: type(error).__name__)
@pytest.mark.parametrize("when", ["before", "after"])
def test_a_broken_pipe_is_an_interrupt_where_one_was_signalled(error: Exception, when: str) -> None:
    noted: list[int] = []
    later = threading.Timer(0.05, signal.raise_signal, [signal.SIGTERM])
    with interruptible(), interrupts_deferred(lambda: noted.append(1)):
        if when == "before":
            signal.raise_signal(signal.SIGTERM)
        else:
            later.start()
        with pytest.raises(KeyboardInterrupt):
            list(iterate(_Broken(error)))
    assert noted == [1]


@pytest.mark.parametrize("error", LOST[:-1], ids=lambda error: type(error).__name__)
def test_a_broken_pipe_without_a_signal_is_a_worker_that_died(error: Exception) -> None:
    with interruptible(), pytest.raises(WorkerError, match="a worker died"):
        list(iterate(_Broken(error)))


def test_an_error_while_all_workers_live_is_raised_as_it_is() -> None:
    error = OSError(24, "Too many open files")
    with interruptible(), pytest.raises(OSError, match="Too many") as raised:
        list(iterate(_Broken(error)))
    assert raised.value is error


@pytest.fixture
def data(monkeypatch: pytest.MonkeyPatch, dataset: Path, t3d: Call) -> Callable[..., tuple[int, str]]:
    """Let `t3d data` do something else."""

    def call(run: Callable[[object], object], show: Callable[[object, object], int] = lambda *_: 0) -> tuple[int, str]:
        monkeypatch.setattr(data_command, "run", run)
        monkeypatch.setattr(data_command, "show", show)
        outcome = t3d("data", dataset)
        return outcome.code, outcome.err

    return call


def _raise(error: BaseException) -> Callable[..., object]:
    def act(*_: object) -> object:
        raise error

    return act


@pytest.mark.parametrize("number", ENDING)
def test_any_command_ends_in_one_line_by_any_signal(number: int, data: Callable[..., tuple[int, str]]) -> None:
    assert data(lambda config: signal.raise_signal(number)) == (130, "t3d: interrupted\n")


def test_whatever_fails_because_of_a_signal_is_the_interrupt(data: Callable[..., tuple[int, str]]) -> None:
    def swallow(config: object) -> object:
        try:
            signal.raise_signal(signal.SIGTERM)
        except KeyboardInterrupt:
            raise ImportError("a C extension's words") from None
        return None

    assert data(swallow) == (130, "t3d: interrupted\n")


@pytest.mark.parametrize("error", LOST[:2], ids=lambda error: type(error).__name__)
def test_another_process_pipe_is_no_success(error: OSError, data: Callable[..., tuple[int, str]]) -> None:
    code, err = data(_raise(error))
    assert code == 2
    assert err.startswith("t3d: error: a worker died")
    assert err.count("\n") == 1


@pytest.mark.parametrize("error", [BrokenPipeError(32, "Broken pipe"), SystemExit(1)])  # `print`, and rich
def test_a_reader_that_has_seen_enough_is_no_error(
    error: BaseException, data: Callable[..., tuple[int, str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    ends = SimpleNamespace(fileno=lambda: os.dup(1), flush=lambda: None, write=len)
    monkeypatch.setattr(sys, "stdout", ends)
    assert data(lambda config: None, _raise(error)) == (0, "")


def test_a_worker_that_died_says_how_to_go_on(
    dataset: Path, tmp_path: Path, t3d: Call, monkeypatch: pytest.MonkeyPatch
) -> None:
    from t3d.commands import train

    def die(*_: object, **__: object) -> None:
        raise WorkerError("a worker died; give fewer --workers")

    monkeypatch.setattr(train, "run", die)
    outcome = t3d("train", dataset, "--output", tmp_path)
    assert outcome.code == 2
    assert "--resume goes on" in outcome.err
