import os
import signal
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from t3d.bench.rounds import Arm, Measured, measure, ratios
from t3d.errors import ConfigError

Step = Callable[[], object]


def _writer(journal: Path, letter: str, seconds: float = 0.0) -> Step:
    """Each step adds a letter; building adds a small one."""

    def note(text: str) -> None:
        with journal.open("a") as file:
            file.write(text)
        time.sleep(seconds)

    note(letter.lower())
    return lambda: note(letter)


def _eater(num_bytes: int) -> Step:
    print("eating")
    return lambda: np.ones(num_bytes, dtype=np.uint8).sum()


def _never_built(error: Exception) -> Step:
    raise error


def _failing(at: int, *, by_signal: bool) -> Step:
    calls: list[int] = []

    def step() -> None:
        calls.append(1)
        if len(calls) == at and by_signal:
            os.kill(os.getpid(), signal.SIGKILL)
        if len(calls) == at:
            raise ValueError("the third\nfails")

    return step


def test_arms_are_built_one_after_the_other_and_asked_in_turn(tmp_path: Path) -> None:
    journal = tmp_path / "journal"
    arms = [Arm(name=letter, build=_writer, arguments={"journal": journal, "letter": letter}) for letter in "AB"]
    measured = measure(arms, rounds=3, threads=1)
    assert journal.read_text() == "aA" + "bB" + "AB" + "AB" + "AB"
    assert [(arm.name, len(arm.seconds), arm.error) for arm in measured] == [("A", 3, ""), ("B", 3, "")]


def test_what_is_going_on_is_logged(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    arm = Arm(name="A", build=_writer, arguments={"journal": tmp_path / "journal", "letter": "A"})
    with caplog.at_level("INFO", logger="t3d.bench"):
        measure([arm], rounds=2, threads=1)
    assert [record.message for record in caplog.records] == ["building A", "round 1 of 2", "round 2 of 2"]


def test_a_step_that_is_shorter_than_a_turn_is_repeated_in_it(tmp_path: Path) -> None:
    journal = tmp_path / "journal"
    given = {"journal": journal, "letter": "A", "seconds": 0.1}
    (writer,) = measure([Arm(name="A", build=_writer, arguments=given)], rounds=1, threads=1, shortest_seconds=1.0)
    made = len(journal.read_text()) - len("aA")
    assert 2 < made <= 10  # fewer than ten where writing takes long
    assert 0.1 <= writer.seconds[0] < 1.0  # of one, not of the turn


def test_memory_is_that_of_the_arm_above_its_imports(capfd: pytest.CaptureFixture[str]) -> None:
    sizes = (50_000_000, 150_000_000)
    arms = [Arm(name=str(size), build=_eater, arguments={"num_bytes": size}) for size in sizes]
    small, large = measure(arms, rounds=1, threads=1)
    assert 45e6 < small.peak_bytes < 90e6
    assert 95e6 < large.peak_bytes - small.peak_bytes < 105e6
    assert "eating" not in capfd.readouterr().out  # where only results go


def test_what_fails_says_why_and_the_others_go_on() -> None:
    arms = [
        Arm(name="no extra", build=_never_built, arguments={"error": ConfigError("install t3d[openvino]")}),
        Arm(name="raises", build=_failing, arguments={"at": 3, "by_signal": False}),
        Arm(name="killed", build=_failing, arguments={"at": 2, "by_signal": True}),
        Arm(name="good", build=_failing, arguments={"at": 9, "by_signal": False}),
    ]
    *others, good = measure(arms, rounds=3, threads=1)
    assert len(good.seconds) == 3
    assert [arm.error for arm in others] == [
        "install t3d[openvino]",
        "ValueError: the third",
        "its process ended (code -9), perhaps for want of memory",
    ]
    assert all(arm.seconds == () and arm.peak_bytes == 0 for arm in others)


def test_ratios_are_taken_within_rounds() -> None:
    base = Measured(name="base", seconds=(1.0, 2.0, 4.0))
    arm = Measured(name="arm", seconds=(0.5, 0.5, 8.0))
    assert ratios(arm, base) == [0.5, 0.25, 2.0]
    assert (base.median, arm.median) == (2.0, 0.5)
    assert ratios(Measured(name="arm", error="killed"), base) == ratios(base, Measured(name="arm", error="x")) == []
