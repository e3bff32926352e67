import subprocess
import sys

import pytest

from t3d.engine.heap import keep_freed_memory

_FAULTS = """
import resource, sys
import torch
from t3d.engine.heap import keep_freed_memory
if "keep" in sys.argv:
    keep_freed_memory()
def pages():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    torch.ones(16 * 2**20)  # 64 MiB
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before
print(*(pages() for _ in range(6)))
"""


def _pages(*arguments: str) -> list[int]:
    """Pages that the system handed out for a tensor, and for as large ones after it was freed."""
    ran = subprocess.run([sys.executable, "-c", _FAULTS, *arguments], capture_output=True, text=True, check=True)
    return [int(word) for word in ran.stdout.split()]


def test_freed_memory_is_used_again_instead_of_fetched_anew() -> None:
    if not keep_freed_memory():
        pytest.skip("this C library cannot be told to keep memory")
    first, *_, last = _pages("keep")
    assert last < first / 10
    first, *_, last = _pages()
    assert last > first / 2


def test_elsewhere_nothing_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "platform", "darwin")
    assert not keep_freed_memory()
