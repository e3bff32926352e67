from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from t3d.video.pyav_reader import PyAVVideo


@pytest.fixture
def marked() -> np.ndarray:
    """Black, with a red corner at the top left and a blue one at the bottom right."""
    picture = np.zeros((48, 64, 3), dtype=np.uint8)
    picture[:12, :16] = (255, 0, 0)
    picture[-12:, -16:] = (0, 0, 255)
    return picture


@pytest.mark.parametrize("suffix", [".mp4", ".mov"])
@pytest.mark.parametrize("mirrored", [False, True])
@pytest.mark.parametrize("quarter_turns", [0, 1, 2, 3])
def test_frames_are_shown_as_the_file_asks(
    quarter_turns: int, mirrored: bool, suffix: str, marked: np.ndarray, tmp_path: Path, encode: Callable[..., Path]
) -> None:
    degrees = (0, 90, 180, -90)[quarter_turns]  # anticlockwise, as numpy counts them
    path = encode(tmp_path / f"turned{suffix}", "libx264", pictures=[marked] * 5, rotation=(degrees, mirrored))
    expected = np.rot90(marked, quarter_turns)
    expected = expected[:, ::-1] if mirrored else expected
    with PyAVVideo(path) as video:
        shown = video.frames([2])[0].numpy()
    assert shown.shape == expected.shape
    assert np.abs(shown.astype(int) - expected).mean() < 8  # what H.264 loses; a wrong corner costs over 20
