"""Ctrl-C reaches every process of a command; it is the business of the main one, which saves its state first."""

import signal
from collections.abc import Iterator
from contextlib import contextmanager


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
