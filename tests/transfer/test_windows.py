from collections.abc import Callable, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import torch

from t3d.data.samples import Sample
from t3d.errors import ConfigError, DecodeError
from t3d.transfer.windows import Window, WindowPictures, picture_positions, window_frames, window_starts
from t3d.video.spec import ClipSpec, PixelSpec

SPEC = ClipSpec(num_frames=4, frame_stride=3)  # spans 10 frames


@pytest.mark.parametrize(
    ("length", "most", "starts"),
    [
        (100, 1, [45]),
        (100, 2, [20, 70]),  # in the middle of frames 0-49 and 50-99
        (40, 4, [0, 10, 20, 30]),
        (40, 9, [0, 10, 20, 30]),  # more do not fit
        (39, 4, [1, 14, 27]),  # thirds of 13 frames
        (10, 3, [0]),
        (11, 3, [0]),
        (9, 3, [0]),
        (1, 1, [0]),
    ],
)
def test_windows_lie_in_the_middle_of_equal_parts(length: int, most: int, starts: list[int]) -> None:
    assert window_starts(length, SPEC, most) == starts


@pytest.mark.parametrize("spec", [SPEC, ClipSpec(num_frames=1), ClipSpec(num_frames=16)])
@pytest.mark.parametrize("most", [1, 2, 3, 7])
def test_windows_never_overlap_nor_leave_the_video(spec: ClipSpec, most: int) -> None:
    for length in range(1, 200):
        starts = window_starts(length, spec, most)
        assert len(starts) == max(1, min(most, length // spec.span))
        assert starts[0] >= 0
        assert all(after - before >= spec.span for before, after in pairwise(starts))
        assert length < spec.span or starts[-1] + spec.span <= length


def test_a_window_is_a_clip_at_its_place() -> None:
    assert window_frames(0, 50, SPEC).tolist() == [0, 3, 6, 9]
    assert window_frames(40, 50, SPEC).tolist() == [40, 43, 46, 49]


@pytest.mark.parametrize(("short", "frames"), [("loop", [20, 23, 20, 23]), ("hold", [20, 23, 25, 25])])
def test_a_piece_shorter_than_a_window_is_filled_up_from_itself(short: str, frames: list[int]) -> None:
    """Frames 20 to 25 of a longer file."""
    assert window_frames(20, 26, ClipSpec(num_frames=4, frame_stride=3, short=short)).tolist() == frames


def test_no_frame_no_window() -> None:
    with pytest.raises(DecodeError, match="0 frames"):
        window_starts(0, SPEC, 1)
    with pytest.raises(DecodeError, match="0 frames"):
        window_frames(7, 7, SPEC)


@pytest.mark.parametrize(
    ("num_frames", "num_pictures", "positions"),
    [
        (32, 1, [16]),
        (32, 4, [4, 12, 20, 28]),
        (5, 2, [1, 3]),
        (4, 3, [0, 2, 3]),
        (4, 4, [0, 1, 2, 3]),
        (4, 32, [0, 1, 2, 3]),
        (1, 1, [0]),
    ],
)
def test_pictures_lie_in_the_middle_of_equal_parts(num_frames: int, num_pictures: int, positions: list[int]) -> None:
    assert picture_positions(num_frames, num_pictures) == positions


def test_at_least_one_window_and_one_picture() -> None:
    with pytest.raises(ConfigError, match="0 windows"):
        window_starts(50, SPEC, 0)
    with pytest.raises(ConfigError, match="0 pictures"):
        picture_positions(32, 0)


def _sample(name: str, *, start: float | None = None, end: float | None = None) -> Sample:
    return Sample(name=name, path=Path(name), label=0, group=name, start_seconds=start, end_seconds=end)


def _windows(samples: Sequence[Sample], source: Callable[[Path], Any], **options: object) -> list[Window]:
    settings = {"clip": SPEC, "num_pictures": 2, "most": 2, "pixels": PixelSpec(resize=8, crop_size=8), **options}
    return list(WindowPictures(samples, open_video=source, **settings))


def test_pictures_of_a_window_are_its_evenly_spaced_frames(fake_video: Callable[..., Any]) -> None:
    """Windows at 20 and 70 of 100 frames; positions 1 and 3 of each."""
    first, second = _windows([_sample("a")], lambda path: fake_video(100))
    assert [(window.start, window.num_windows, window.index) for window in (first, second)] == [(20, 2, 0), (70, 2, 0)]
    assert first.pictures is not None
    assert first.pictures.shape == (3, 2, 8, 8)
    assert first.pictures[0, :, 0, 0].tolist() == [23, 29]
    assert second.pictures is not None
    assert second.pictures[2, :, 7, 7].tolist() == [73, 79]


def test_windows_of_a_piece_stay_inside_it(fake_video: Callable[..., Any]) -> None:
    """Seconds 2 to 3 at 25 frames a second are frames 50 to 74; 2 to 2.2 are five frames, looped."""
    pieces = [_sample("a", start=2.0, end=3.0), _sample("a", start=2.0, end=2.2)]
    windows = _windows(pieces, lambda path: fake_video(100), num_pictures=4)
    assert [(window.index, window.start) for window in windows] == [(0, 51), (0, 63), (1, 50)]
    shown = [window.pictures[0, :, 0, 0].tolist() for window in windows if window.pictures is not None]
    assert shown == [[51, 54, 57, 60], [63, 66, 69, 72], [50, 53, 51, 54]]


def test_a_video_that_fails_half_way_gives_its_error_and_the_others_go_on(fake_video: Callable[..., Any]) -> None:
    class Torn(fake_video):
        def frames(self, indices: Sequence[int]) -> torch.Tensor:
            if max(int(index) for index in indices) > 50:
                raise DecodeError("torn: frame 51 is damaged")
            return super().frames(indices)

    windows = _windows(
        [_sample("torn"), _sample("good")], lambda path: (Torn if path.name == "torn" else fake_video)(100)
    )
    assert [(window.index, window.error, window.pictures is None) for window in windows] == [
        (0, "", False),
        (0, "torn: frame 51 is damaged", True),
        (1, "", False),
        (1, "", False),
    ]


def test_every_video_is_closed(fake_video: Callable[..., Any]) -> None:
    opened = []

    def source(path: Path) -> object:
        opened.append(fake_video(100))
        return opened[-1]

    _windows([_sample("a"), _sample("b")], source)
    assert [video.closed for video in opened] == [True, True]
