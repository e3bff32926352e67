import subprocess

import pytest

from arms import Instant
from t3d.bench import startup
from t3d.bench.startup import bench_startup, run_python


def test_a_step_is_a_whole_process() -> None:
    assert run_python(("-c", "print(6 * 7)"))().stdout == b"42\n"  # type: ignore[attr-defined]


def test_a_program_that_fails_is_no_measurement() -> None:
    with pytest.raises(subprocess.CalledProcessError):
        run_python(("-c", "raise SystemExit(3)"))()


def test_what_was_aimed_at_is_judged_by_seconds(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(startup, "measure", Instant())
    (table,) = bench_startup(rounds=2)
    assert table.rows[0].measured.name == "python -c pass"
    assert {target.what: (target.reached, target.met) for target in table.targets} == {
        "python -c 'import t3d'": (2.0, False),
        "t3d --help": (3.0, False),
    }
