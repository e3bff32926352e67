from pathlib import Path

import pytest
import torch

from arms import Instant
from t3d.bench import growth
from t3d.bench.growth import Growth, evaluation_step, grow_evaluation, grow_networks
from t3d.bench.growth_plots import growth_figure
from t3d.bench.rounds import Measured
from t3d.video.encode import write_video

SHAPE = (1, 3, 16, 32, 32)


def _growth(*seconds: float, error: str = "") -> Growth:
    """Of sizes 1, 2, 4, ...; memory is constant; with an error, one size more."""
    measured = [Measured(name=str(value), seconds=(value, value), peak_bytes=5_000_000) for value in seconds]
    measured += [Measured(name="large", error=error)] if error else []
    sizes = [2**power for power in range(len(measured))]
    return Growth(arch="net", work="forward pass", axis="frames", sizes=sizes, measured=measured, setting="all else")


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


def test_one_length_at_a_time_is_varied(monkeypatch: pytest.MonkeyPatch) -> None:
    instant = Instant()
    monkeypatch.setattr(growth, "measure", instant)
    monkeypatch.setattr(growth, "AXES", {"frames": (16, 32), "resolution": (32, 48), "batch": (2, 3)})
    found = grow_networks("t3d_tiny", (2, *SHAPE[1:]), rounds=1, threads=1, device="cpu")
    works = ["forward pass", "training step"]
    assert [(one.axis, one.work) for one in found] == [(axis, work) for axis in growth.AXES for work in works]
    assert instant.calls[0] == ["frames 16", "frames 32"]
    assert [growth._varied(SHAPE, axis, 7) for axis in growth.AXES] == [
        *((1, 3, 7, 32, 32), (1, 3, 16, 7, 7), (7, 3, 16, 32, 32)),
    ]


def test_more_and_more_videos_are_evaluated(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    instant = Instant()
    monkeypatch.setattr(growth, "measure", instant)
    monkeypatch.setattr(growth, "NUM_VIDEOS", (1, 3))
    grown = grow_evaluation("t3d_tiny", SHAPE, tmp_path, rounds=1, threads=1, device="cpu")
    assert instant.calls == [["videos 1", "videos 3"]]
    assert len(list(tmp_path.iterdir())) == 3
    assert grown.sizes == (1, 3)


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
