"""Operating system: malloc settings, signals, memory, processor, and the rank of the process.

Only light imports: the command line uses this module before it parses flags.
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
from threading import Event, Thread, current_thread, main_thread
from types import FrameType

ENDING = tuple(
    signal.Signals[name] for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name)
)  # Windows has no SIGHUP
"""Signals that ask a process to end: Ctrl-C, `kill` or a cluster, a terminal that was closed."""
_SAME_REQUEST_SECONDS = 1.0
"""`timeout` signals its child and then the child's whole group: the same request twice."""

_REPEAT_SECONDS = 0.02

_TRIM_THRESHOLD, _MMAP_THRESHOLD, _MMAP_MAX = -1, -3, -4
"""Options of `mallopt`, from glibc's `malloc.h`."""
_LARGE = 16 * 2**20
"""In bytes; a smaller value saves more memory, but a step takes twice the time."""

_leaves_malloc = False
_num_blocks = 0
_requests: list[tuple[int, float]] = []
"""Signals to end that came in this block, and when, on the monotonic clock."""


def was_interrupted() -> bool:
    """Whether a signal to end has come since the outermost of the blocks below began."""
    return bool(_requests)


@contextmanager
def interruptible() -> Iterator[None]:
    """Raise KeyboardInterrupt at every signal to end in this block, as Ctrl-C does; a second one ends at once.

    Signals that were ignored when the process started (`nohup`, background jobs) stay ignored.
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

    def repeat() -> None:
        nonlocal raised
        raised = False
        number = _requests.pop()[0]
        if hasattr(signal, "pthread_kill"):
            signal.pthread_kill(main_thread().ident or 0, number)  # which wakes it
        else:
            signal.raise_signal(number)

    with _noted(), _handled(end), _unless_lost(repeat):
        yield


@contextmanager
def interrupts_deferred(note: Callable[[], None]) -> Iterator[None]:
    """Call `note` at the first signal to end, so that the current work is finished; the second raises.

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
    """Child processes started in this block ignore signals to end from their first moment.

    They inherit the mask of blocked signals. Signals to this process are handled at the end of the block, because
    half-started processes could not be ended cleanly.
    """
    held: list[int] = []
    try:
        with _handled(lambda number, frame: held.append(number)), _blocked():
            yield
    finally:
        for number in held:
            signal.raise_signal(number)


def ignore_interrupts(worker: int = 0) -> None:
    """Ignore signals to end; first call in a worker (`worker_init_fn` of a loader)."""
    for number in ENDING:
        signal.signal(number, signal.SIG_IGN)


def is_first_process() -> bool:
    """Whether this is the process of rank 0 of torchrun, SLURM or Fabric."""
    return all(os.environ.get(name, "0") == "0" for name in ("RANK", "SLURM_PROCID", "LOCAL_RANK"))


def leave_malloc() -> None:
    """Let the two functions below do nothing from now on: this process is another program's, which called a command."""
    global _leaves_malloc
    _leaves_malloc = True


def keep_freed_memory() -> bool:
    """Let malloc reuse freed memory instead of returning it; return whether the C library supports it."""
    return _set_malloc_options({_MMAP_MAX: 0, _TRIM_THRESHOLD: -1})


def return_freed_memory() -> bool:
    """Let malloc return large blocks when they are freed; return whether the C library supports it."""
    return _set_malloc_options({_MMAP_MAX: 65536, _MMAP_THRESHOLD: _LARGE, _TRIM_THRESHOLD: _LARGE})


def peak_bytes() -> int:
    """Largest resident memory of this process so far.

    On Linux, `ru_maxrss` includes the parent's memory at the start of this process; `VmHWM` does not.
    """
    status = Path("/proc/self/status")
    if status.exists():
        lines = (line.split() for line in status.read_text().splitlines())
        return next(int(words[1]) for words in lines if words[0] == "VmHWM:") * 1024
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024


def cpu_bf16_supported() -> bool:
    """Whether the processor has bf16 units (AVX512_BF16, AMX, Arm's BF16); others emulate bf16 slowly."""
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        return not _BF16_FLAGS.isdisjoint(cpuinfo.read_text(encoding="utf-8", errors="replace").split())
    import torch

    asked = (getattr(torch.cpu, name, None) for name in ("_is_avx512_bf16_supported", "_is_amx_tile_supported"))
    return any(supported is not None and supported() for supported in asked)


_BF16_FLAGS = {"avx512_bf16", "amx_bf16", "bf16"}
"""Names of the units in Linux's list of processor features."""


def _is_new_request(number: int) -> bool:
    """Record a signal; return whether it is a new request, not a repetition by a launcher."""
    now = time.monotonic()
    last, when = _requests[-1] if _requests else (0, now)
    _requests.append((number, now))
    if number == signal.SIGINT:  # Ctrl-C twice is always meant
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
    """Handle signals to end in this block; does nothing outside of the main thread."""
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
def _unless_lost(repeat: Callable[[], None]) -> Iterator[None]:
    """Call `repeat` soon after a KeyboardInterrupt was raised where Python ignores errors, as in a `__del__`."""
    before = sys.unraisablehook
    is_over = False

    def wait_and_repeat(left: Event) -> None:
        left.wait()  # in the hook, it would be ignored again
        time.sleep(_REPEAT_SECONDS)
        if not is_over:
            repeat()

    def hook(unraisable: "sys.UnraisableHookArgs") -> None:
        if not isinstance(unraisable.exc_value, KeyboardInterrupt):
            before(unraisable)
            return
        left = Event()
        Thread(target=wait_and_repeat, args=(left,), daemon=True).start()
        left.set()

    sys.unraisablehook = hook
    try:
        yield
    finally:
        is_over = True
        sys.unraisablehook = before


@contextmanager
def _blocked() -> Iterator[None]:
    """Block signals to end in this thread, if the system supports it."""
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
