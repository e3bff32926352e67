import os
import signal
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from t3d.bench.rounds import Measured, Variant, measure, ratios
from t3d.errors import ConfigError

Step = Callable[[], object]


def _writer(journal: Path, letter: str, *, seconds: float = 0.0, num_bytes: int = 0) -> Step:
    """Each step adds a letter to the journal and fills some memory; building adds a small letter."""

    def note(text: str) -> None:
        with journal.open("a") as file:
            file.write(text)
        time.sleep(seconds)
        np.ones(num_bytes, dtype=np.uint8).sum()

    print("building")
    note(letter.lower())
    return lambda: note(letter)


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


def test_variants_are_built_one_after_the_other_and_timed_in_turn(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    journal, ready = tmp_path / "journal", []
    sizes = {"A": 50_000_000, "B": 150_000_000}
    variants = [
        Variant(name=letter, build=_writer, arguments={"journal": journal, "letter": letter, "num_bytes": size})
        for letter, size in sizes.items()
    ]
    variants.insert(1, Variant(name="skipped", build=_writer, skip="no such units"))
    with caplog.at_level("INFO", logger="t3d.bench"):
        found = measure(variants, rounds=2, threads=1, on_ready=lambda build, step: ready.append(build > step > 0))
    assert journal.read_text() == "aA" + "bB" + "AB" + "AB"
    assert [(one.name, len(one.seconds), one.error) for one in found] == [
        *(("A", 2, ""), ("skipped", 0, "no such units"), ("B", 2, "")),
    ]
    assert ready == [True, True]
    logged = ["building A", "skipped: no such units", "building B", "round 1 of 2", "round 2 of 2"]
    assert [record.message for record in caplog.records] == logged
    small, _, large = found
    assert 45e6 < small.peak_bytes < 90e6  # above what its imports took
    assert 95e6 < large.peak_bytes - small.peak_bytes < 105e6
    assert "building" not in capfd.readouterr().out  # where only results go


def test_a_short_step_is_repeated_within_its_turn(tmp_path: Path) -> None:
    journal = tmp_path / "journal"
    given = {"journal": journal, "letter": "A", "seconds": 0.1}
    (found,) = measure([Variant(name="A", build=_writer, arguments=given)], rounds=1, threads=1, shortest_seconds=1.0)
    made = len(journal.read_text()) - len("aA")
    assert 2 < made <= 10  # fewer than ten where writing takes long
    assert 0.1 <= found.seconds[0] < 1.0  # of one, not of the turn


def test_a_variant_that_fails_has_its_reason_and_the_others_go_on() -> None:
    variants = [
        Variant(name="killed", build=_failing, arguments={"at": 2, "by_signal": True}),
        Variant(name="no extra", build=_never_built, arguments={"error": ConfigError("install t3d[openvino]")}),
        Variant(name="raises", build=_failing, arguments={"at": 3, "by_signal": False}),
    ]
    found = measure(variants, rounds=2, threads=1)
    assert [one.error for one in found] == [
        "its process ended (code -9), perhaps for want of memory",
        "install t3d[openvino]",
        "ValueError: the third",
    ]
    assert all(one.seconds == () and one.peak_bytes == 0 for one in found)


def test_ratios_are_taken_within_rounds() -> None:
    base = Measured(name="base", seconds=(1.0, 2.0, 4.0))
    other = Measured(name="other", seconds=(0.5, 0.5, 8.0))
    assert ratios(other, base) == [0.5, 0.25, 2.0]
    assert (base.median, other.median) == (2.0, 0.5)
    assert ratios(Measured(name="other", error="killed"), base) == ratios(base, Measured(name="x", error="x")) == []
