"""Memory that is freed stays with the process, so that the next map does not wait for the system to clear its pages."""

import ctypes
import sys

_TRIM_THRESHOLD, _MMAP_MAX = -1, -4
"""Numbers of glibc's `malloc.h`."""


def keep_freed_memory() -> bool:
    """Let this process use memory again that it has freed, instead of giving it back; it may hold more at its peak.

    Costs nothing to call twice. Only glibc can be told, and only of the tensors of a CPU.

    Returns:
        Whether it could be told.

    Source: mallopt(3).
    """
    if sys.platform != "linux":
        return False
    libc = ctypes.CDLL(None)
    if not hasattr(libc, "mallopt"):  # as in musl
        return False
    return bool(libc.mallopt(_MMAP_MAX, 0) and libc.mallopt(_TRIM_THRESHOLD, -1))
