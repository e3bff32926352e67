"""What becomes of freed memory on a CPU: it stays with the process, which is faster, or leaves it, which is less.

A new map in memory fresh from the system waits until its pages have been cleared; a map in the place of an old one does
not. But old places lie between others, and not every new map fits. Only glibc can be told, for the whole process.

Source: mallopt(3).
"""

import ctypes
import sys
from collections.abc import Mapping

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
