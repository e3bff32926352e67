"""How much memory this process has ever held."""

import resource
import sys
from pathlib import Path


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
