import math
from pathlib import Path

import pytest
import torch

from benchmarks import growth
from benchmarks.growth import Growth, evaluation_step, fit_power_law, growth_figure
from t3d.bench.rounds import Measured
from t3d.bench.tables import Row
from t3d.video.encode import write_video

SHAPE = (1, 3, 16, 32, 32)


def _growth(*seconds: float, error: str = "") -> Growth:
    """Of sizes 1, 2, 4, ...; memory is constant; with an error, one size more."""
    measured = [Measured(name=str(value), seconds=(value, value), peak_bytes=5_000_000) for value in seconds]
    measured += [Measured(name="large", error=error)] if error else []
    sizes = [2**power for power in range(len(measured))]
    rows = [Row(measured=one) for one in measured]
    return Growth(arch="net", work="forward pass", axis="frames", sizes=sizes, rows=rows, setting="all else")


def test_laws_are_fitted_to_what_could_be_measured() -> None:
    grown = _growth(3.0, 12.0, 48.0, error="killed")
    assert grown.time is not None
    assert grown.memory is not None
    assert grown.time.exponent == pytest.approx(2)
    assert grown.memory.exponent == pytest.approx(0)
    figures = grown.table().figures()
    assert figures["sizes"] == [1, 2, 4, 8]
    assert figures["time"]["exponent"] == pytest.approx(2)
    assert figures["notes"] == ["Exponents: time 2.00 ± 0.00, memory 0.00 ± 0.00. all else."]
    assert [row["ratio"] and row["ratio"]["median"] for row in figures["rows"]] == [1.0, 4.0, 16.0, None]


def test_too_few_sizes_make_no_law() -> None:
    figures = _growth(1.0, 2.0, error="killed").table().figures()
    assert figures["time"] is figures["memory"] is None
    assert figures["notes"] == ["Exponents: time not known, memory not known. all else."]


@pytest.mark.parametrize("exponent", [-1.0, 0.0, 2.5])
def test_an_exact_law_is_found_without_error(exponent: float) -> None:
    law = fit_power_law([8, 16, 64], [3 * size**exponent for size in (8, 16, 64)])
    assert law is not None
    assert law.exponent == pytest.approx(exponent, abs=1e-12)
    assert law.error == pytest.approx(0, abs=1e-6)
    assert law.factor == pytest.approx(3)
    assert law(32) == pytest.approx(3 * 32**exponent)


def test_the_error_is_that_of_least_squares() -> None:
    """Logarithms 0, 1, 2 against 0, 2, 1: slope 1/2, residuals -1/2, 1, -1/2, so sqrt(1.5 / 1 / 2)."""
    law = fit_power_law([1, math.e, math.e**2], [1, math.e**2, math.e])
    assert law is not None
    assert law.exponent == pytest.approx(0.5)
    assert law.error == pytest.approx(math.sqrt(0.75))
    assert fit_power_law([1, 2], [1, 2]) is None


def test_one_length_at_a_time_is_varied() -> None:
    assert [growth._varied(SHAPE, axis, 7) for axis in growth.AXES] == [
        *((1, 3, 7, 32, 32), (1, 3, 16, 7, 7), (7, 3, 16, 32, 32)),
    ]


def test_a_video_that_cannot_be_scored_is_no_measurement(tmp_path: Path) -> None:
    write_video(tmp_path / "good.mp4", torch.zeros(16, 32, 32, 3, dtype=torch.uint8))
    (tmp_path / "bad.mp4").write_bytes(b"nothing")
    given = {"arch": "t3d_tiny", "num_frames": 16, "edge": 32, "device": "cpu"}
    evaluation_step(videos=[tmp_path / "good.mp4"], **given)()  # type: ignore[arg-type]
    with pytest.raises(AssertionError):
        evaluation_step(videos=[tmp_path / "good.mp4", tmp_path / "bad.mp4"], **given)()  # type: ignore[arg-type]


def test_points_and_laws_are_drawn_on_logarithmic_axes() -> None:
    figure = growth_figure([_growth(3.0, 12.0, 48.0, error="killed"), _growth(error="killed")])
    left, right = figure.axes
    for axes in (left, right):
        assert (axes.get_xscale(), axes.get_yscale()) == ("log", "log")
        assert axes.get_xlabel() == "frames"
    points, law = left.lines
    assert list(points.get_xdata()) == [1, 2, 4]
    assert list(points.get_ydata()) == [3.0, 12.0, 48.0]
    assert list(law.get_ydata()) == pytest.approx([3.0, 12.0, 48.0, 192.0])
    assert list(right.lines[1].get_ydata()) == pytest.approx([5.0] * 4)  # megabytes
    (text,) = [text.get_text() for text in left.get_legend().get_texts()]
    assert text == "forward pass: exponent 2.00 ± 0.00"
