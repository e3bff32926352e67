"""With a stand-in for the library, which need not be installed: what the reader asks of it, and what it does itself.

`test_decode` compares pictures with the real one where it is installed.
"""

import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType, SimpleNamespace

import pytest
import torch

from t3d.errors import DecodeError
from t3d.video.decode import open_video


class StandInDecoder:
    """Frame i is filled with the value i."""

    asked: list[list[int]] = []  # noqa: RUF012 - emptied by the fixture

    def __init__(self, source: Path, *, dimension_order: str, num_ffmpeg_threads: int, seek_mode: str) -> None:
        assert (dimension_order, num_ffmpeg_threads, seek_mode) == ("NHWC", 2, "exact")

    def get_frames_at(self, indices: list[int]) -> SimpleNamespace:
        self.asked.append(indices)
        if 13 in indices:
            raise RuntimeError("a long\nexplanation")
        values = torch.tensor(indices, dtype=torch.uint8)
        return SimpleNamespace(data=values[:, None, None, None].expand(-1, 4, 4, 3))


@pytest.fixture(autouse=True)
def _stand_in(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    decoders = ModuleType("torchcodec.decoders")
    decoders.VideoDecoder = StandInDecoder
    monkeypatch.setitem(sys.modules, "torchcodec", ModuleType("torchcodec"))
    monkeypatch.setitem(sys.modules, "torchcodec.decoders", decoders)
    monkeypatch.delitem(sys.modules, "t3d.video.torchcodec_reader", raising=False)
    StandInDecoder.asked.clear()
    yield
    sys.modules.pop("t3d.video.torchcodec_reader", None)  # what holds the stand-in must not outlive it


def test_each_frame_is_asked_for_once_in_ascending_order(make_video: Callable[..., Path]) -> None:
    with open_video(make_video(length=20, fps=10.0), backend="torchcodec", num_threads=2) as video:
        assert video.frames([7, 3, 3, 11])[:, 0, 0, 0].tolist() == [7, 3, 3, 11]
        assert StandInDecoder.asked == [[3, 7, 11]]
        assert (len(video), video.fps, video.frame_range(0.5, 1.0)) == (20, 10.0, (5, 10))


def test_files_that_cannot_be_sought_are_left_to_pyav(tmp_path: Path, encode: Callable[..., Path]) -> None:
    path = encode(tmp_path / "video.avi", "mpeg4")
    with open_video(path, backend="torchcodec", num_threads=2) as video, open_video(path) as plain:
        assert torch.equal(video.frames([41, 3]), plain.frames([41, 3]))
    assert StandInDecoder.asked == []


def test_errors_are_one_line_and_name_the_file(make_video: Callable[..., Path]) -> None:
    path = make_video(length=20)
    with open_video(path, backend="torchcodec", num_threads=2) as video:
        for indices, words in [([2, 13], "frames 2 to 13 cannot be decoded"), ([20], "frame 20 does not exist")]:
            with pytest.raises(DecodeError, match=words) as caught:
                video.frames(indices)
            assert str(caught.value).startswith(f"{path}: ")
            assert "\n" not in str(caught.value)


def test_what_the_library_cannot_open_is_a_decode_error(
    make_video: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    class Refusing:
        def __init__(self, *_: object, **__: object) -> None:
            raise ValueError("no valid stream\nmore")

    monkeypatch.setattr(sys.modules["torchcodec.decoders"], "VideoDecoder", Refusing)
    with pytest.raises(DecodeError, match=r"cannot open it \(no valid stream\); use the backend 'pyav'"):
        open_video(make_video(), backend="torchcodec", num_threads=2)
