import subprocess
import sys

import pytest

from t3d import system as heap

_HELD = """
import sys
from pathlib import Path
import torch
from t3d.engine import heap
def resident():
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4 // 1024  # MiB
for name in sys.argv[1:]:
    getattr(heap, name)()
torch.ones(1)
before = resident()
maps = [torch.ones(2**23) for _ in range(8)]  # 32 MiB each
full = resident()
del maps
print(full - before, resident() - before)
"""


@pytest.mark.parametrize(
    ("calls", "is_held"),
    [
        (("keep_freed_memory",), True),
        (("return_freed_memory",), False),
        (("keep_freed_memory", "return_freed_memory"), False),
        (("return_freed_memory", "keep_freed_memory"), True),
    ],
)
def test_freed_memory_stays_or_leaves_as_was_told_last(calls: tuple[str, ...], is_held: bool) -> None:
    if not heap.keep_freed_memory():
        pytest.skip("this C library cannot be told what to do with freed memory")
    ran = subprocess.run([sys.executable, "-c", _HELD, *calls], capture_output=True, text=True, check=True)
    full, after = (int(word) for word in ran.stdout.split())
    assert full >= 256
    assert after >= 250 if is_held else after <= 40


def test_elsewhere_nothing_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "platform", "darwin")
    assert not heap.keep_freed_memory()
    assert not heap.return_freed_memory()
