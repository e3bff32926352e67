"""What the program asks of the operating system: memory, signals, and which process of several it is.

Nothing heavy is imported: the command line needs this before it knows what to do.
"""

import ctypes
import os
import resource
import signal
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from threading import current_thread, main_thread
from types import FrameType

ENDING = tuple(
    signal.Signals[name] for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name)
)  # Windows has no SIGHUP
"""Signals that ask a process to end: Ctrl-C, `kill` or a cluster, a terminal that was closed."""
_SAME_REQUEST_SECONDS = 1.0
"""`timeout` signals its child and then the child's whole group: twice the same request."""

_TRIM_THRESHOLD, _MMAP_THRESHOLD, _MMAP_MAX = -1, -3, -4
"""Options of `mallopt`, from glibc's `malloc.h`."""
_LARGE = 16 * 2**20
"""Bytes; with smaller pieces a step takes still less memory, and twice the time."""

_leaves_malloc = False
_num_blocks = 0
_requests: list[tuple[int, float]] = []
"""Signals to end that came in this block, and when, on the monotonic clock."""


def was_interrupted() -> bool:
    """Whether a signal to end has come since the outermost of the blocks below began."""
    return bool(_requests)


@contextmanager
def interruptible() -> Iterator[None]:
    """Let every signal to end raise KeyboardInterrupt in this block, as Ctrl-C does; a second one ends at once.

    A signal that this process was started to ignore (`nohup`, a shell's background) stays ignored.
    """
    raised = False

    def end(number: int, frame: FrameType | None) -> None:
        nonlocal raised
        if not _is_new_request(number):
            return
        if raised:
            signal.signal(number, signal.SIG_DFL)
            signal.raise_signal(number)
        raised = True
        raise KeyboardInterrupt

    with _noted(), _handled(end):
        yield


@contextmanager
def interrupts_deferred(note: Callable[[], None]) -> Iterator[None]:
    """Call `note` at the first signal to end, so that the work in hand is finished; the second raises.

    Raises:
        KeyboardInterrupt: At the second signal.
    """
    noted = False

    def defer(number: int, frame: FrameType | None) -> None:
        nonlocal noted
        if not _is_new_request(number):
            return
        if noted:
            raise KeyboardInterrupt
        noted = True
        note()

    with _noted(), _handled(defer):
        yield


@contextmanager
def children_ignore_interrupts() -> Iterator[None]:
    """Leave signals to end to this process, from the first moment of those that are started in this block.

    They inherit the mask of blocked signals. What comes for this process meanwhile is acted on at the end of the
    block: half-started processes could not be ended cleanly.
    """
    held: list[int] = []
    try:
        with _handled(lambda number, frame: held.append(number)), _blocked():
            yield
    finally:
        for number in held:
            signal.raise_signal(number)


def ignore_interrupts(worker: int = 0) -> None:
    """Leave signals to end to the main process: what a worker does first (`worker_init_fn` of a loader)."""
    for number in ENDING:
        signal.signal(number, signal.SIG_IGN)


def is_first_process() -> bool:
    """Whether this process reports and writes for all that torchrun, SLURM or Fabric started."""
    return all(os.environ.get(name, "0") == "0" for name in ("RANK", "SLURM_PROCID", "LOCAL_RANK"))


def leave_malloc() -> None:
    """Let the two functions below do nothing from now on: this process is another program's, which called a command."""
    global _leaves_malloc
    _leaves_malloc = True


def keep_freed_memory() -> bool:
    """Use freed memory again instead of giving it back; return whether this C library could be told."""
    return _set_malloc_options({_MMAP_MAX: 0, _TRIM_THRESHOLD: -1})


def return_freed_memory() -> bool:
    """Give large pieces back as soon as they are freed; return whether this C library could be told."""
    return _set_malloc_options({_MMAP_MAX: 65536, _MMAP_THRESHOLD: _LARGE, _TRIM_THRESHOLD: _LARGE})


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


def _is_new_request(number: int) -> bool:
    """Note a signal; return whether it is a request of its own, not the last one repeated by a launcher."""
    now = time.monotonic()
    last, when = _requests[-1] if _requests else (0, now)
    _requests.append((number, now))
    if number == signal.SIGINT:  # who presses Ctrl-C twice means it
        return True
    return number != last or now - when > _SAME_REQUEST_SECONDS


@contextmanager
def _noted() -> Iterator[None]:
    """Forget at the end of the outermost block what has come in it."""
    global _num_blocks
    _num_blocks += 1
    try:
        yield
    finally:
        _num_blocks -= 1
        if _num_blocks == 0:
            _requests.clear()


@contextmanager
def _handled(handler: Callable[[int, FrameType | None], None]) -> Iterator[None]:
    """Handle signals to end in this block; only the main thread may, others leave them as they are."""
    taken = {}
    if current_thread() is main_thread():
        before = {number: signal.getsignal(number) for number in ENDING}
        taken = {number: old for number, old in before.items() if old not in (None, signal.SIG_IGN)}
    for number in taken:
        signal.signal(number, handler)
    try:
        yield
    finally:
        for number, old in taken.items():
            signal.signal(number, old)


@contextmanager
def _blocked() -> Iterator[None]:
    """Block signals to end in this thread, where the system can."""
    if not hasattr(signal, "pthread_sigmask"):
        yield
        return
    from multiprocessing import resource_tracker

    resource_tracker.ensure_running()  # its start, which the first child would cause, unblocks signals
    before = signal.pthread_sigmask(signal.SIG_BLOCK, ENDING)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _set_malloc_options(options: Mapping[int, int]) -> bool:
    if _leaves_malloc or sys.platform != "linux":
        return False
    libc = ctypes.CDLL(None)
    if not hasattr(libc, "mallopt"):  # as in musl
        return False
    return all(libc.mallopt(option, value) for option, value in options.items())
