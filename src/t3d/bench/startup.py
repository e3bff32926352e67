"""How long the program takes until it says something: whole processes, against a Python that does nothing."""

import subprocess
import sys
from collections.abc import Sequence

from t3d.bench.rounds import Arm, Step, measure
from t3d.bench.tables import Row, Table, Target

_PYTHON = "python -c pass"
_COMMANDS = {
    _PYTHON: ("-c", "pass"),
    "python -c 'import t3d'": ("-c", "import t3d"),
    "t3d --help": ("-m", "t3d", "--help"),
    "t3d train --help": ("-m", "t3d", "train", "--help"),
}
_BOUNDS = {"python -c 'import t3d'": 0.3, "t3d --help": 0.3}


def bench_startup(*, rounds: int) -> list[Table]:
    """Time every command; the network plays no part."""
    arms = [Arm(name=name, build=run_python, arguments={"flags": flags}) for name, flags in _COMMANDS.items()]
    rows = [Row(measured=measured) for measured in measure(arms, rounds=rounds, threads=1)]
    targets = [
        Target(
            what=row.measured.name,
            unit="s",
            bound=_BOUNDS[row.measured.name],
            reached=None if row.measured.error else row.measured.median,
        )
        for row in rows
        if row.measured.name in _BOUNDS
    ]
    return [Table(title="Whole processes", rows=rows, ratio="x the time", targets=targets, memory=False)]


def run_python(flags: Sequence[str]) -> Step:
    """A step is a process of this Python from its start to its end."""
    command = [sys.executable, *flags]
    return lambda: subprocess.run(command, check=True, capture_output=True)
