import subprocess
import sys

import pytest

from t3d import system

_HELD = """
import sys
from pathlib import Path
from t3d import system
def resident():
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4 // 1024  # MiB
told = [getattr(system, name)() for name in sys.argv[1:]]
before = resident()
maps = [b"x" * 2**25 for _ in range(8)]  # 32 MiB each
full = resident()
del maps
print(full - before, resident() - before, told[-1])
"""


@pytest.mark.parametrize(
    ("calls", "is_told", "is_held"),
    [
        (("keep_freed_memory",), True, True),
        (("return_freed_memory",), True, False),
        (("keep_freed_memory", "return_freed_memory"), True, False),
        (("return_freed_memory", "keep_freed_memory"), True, True),
        (("leave_malloc", "keep_freed_memory"), False, False),
    ],
)
def test_freed_memory_stays_or_leaves_as_was_told_last(calls: tuple[str, ...], is_told: bool, is_held: bool) -> None:
    ran = subprocess.run([sys.executable, "-c", _HELD, *calls], capture_output=True, text=True, check=True)
    full, after, told = ran.stdout.split()
    if is_told and told == "False":
        pytest.skip("this C library cannot be told what to do with freed memory")
    assert told == str(is_told)
    assert int(full) >= 256
    assert int(after) >= 250 if is_held else int(after) <= 40


def test_other_systems_are_told_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "platform", "darwin")
    assert not system.keep_freed_memory()
    assert not system.return_freed_memory()
