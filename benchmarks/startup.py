"""How long the program takes until it answers: whole processes, against a Python that does nothing."""

import subprocess
import sys
from collections.abc import Sequence

from benchmarks.options import Options
from t3d.bench.experiments import Experiment, Findings, Work, run_experiments
from t3d.bench.rounds import Step, Variant
from t3d.bench.tables import Row, Target

_COMMANDS = {
    "python -c pass": ("-c", "pass"),
    "python -c 'import t3d'": ("-c", "import t3d"),
    "t3d --help": ("-m", "t3d", "--help"),
    "t3d train --help": ("-m", "t3d", "train", "--help"),
}
_BOUNDS = {"python -c 'import t3d'": 0.3, "t3d --help": 0.3}


def run(options: Options) -> Findings:
    """Time every command."""
    work = [
        Work(variant=Variant(name=name, build=run_python, arguments={"flags": flags}))
        for name, flags in _COMMANDS.items()
    ]
    experiment = Experiment(
        title="Whole processes",
        work=work,
        rounds=options.timed_rounds,
        ratio="x the time",
        memory=False,
        targets=_targets,
    )
    (rows,), _ = run_experiments([experiment], threads=1)
    return Findings(tables=[experiment.table(rows).figures()])


def run_python(flags: Sequence[str]) -> Step:
    """A step is a process of this Python from its start to its end."""
    command = [sys.executable, *flags]
    return lambda: subprocess.run(command, check=True, capture_output=True)


def _targets(rows: Sequence[Row]) -> list[Target]:
    measured = [row.measured for row in rows if row.measured.name in _BOUNDS]
    return [
        Target(what=one.name, unit="s", bound=_BOUNDS[one.name], reached=None if one.error else one.median)
        for one in measured
    ]
