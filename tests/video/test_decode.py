import importlib.util
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import Tensor

from t3d.errors import ConfigError, DecodeError
from t3d.video.decode import BACKENDS, VideoReader, open_video

has_torchcodec = importlib.util.find_spec("torchcodec") is not None


def test_pyav_is_what_opens_a_file(make_video: Callable[..., Path]) -> None:
    path = make_video(length=9, fps=10.0)
    with open_video(path) as video:
        assert isinstance(video, VideoReader)
        assert (len(video), video.name, video.fps) == (9, str(path), 10.0)
        assert video.frames([0, 8]).shape == (2, 32, 48, 3)


def test_a_fake_video_keeps_the_same_promises(fake_video: Callable[..., VideoReader]) -> None:
    assert isinstance(fake_video(5), VideoReader)


def test_an_unknown_backend_is_named_with_the_known_ones(make_video: Callable[..., Path]) -> None:
    with pytest.raises(ConfigError, match="unknown backend 'opencv'; choose from pyav, torchcodec"):
        open_video(make_video(), backend="opencv")


@pytest.mark.parametrize("backend", BACKENDS)
def test_errors_name_the_file(backend: str, tmp_path: Path) -> None:
    if backend == "torchcodec" and not has_torchcodec:
        pytest.skip("torchcodec is not installed")
    with pytest.raises(DecodeError, match=r"gone\.mp4: no such file"):
        open_video(tmp_path / "gone.mp4", backend=backend)


def test_a_missing_library_is_a_matter_of_configuration(make_video: Callable[..., Path]) -> None:
    if has_torchcodec:
        pytest.skip("torchcodec is installed")
    with pytest.raises(ConfigError, match=r"install 't3d\[torchcodec\]'"):
        open_video(make_video(), backend="torchcodec")


@pytest.mark.parametrize("codec", ["libx264", "mpeg4"])
def test_torchcodec_gives_the_frames_pyav_gives(codec: str, tmp_path: Path, encode: Callable[..., Path]) -> None:
    if not has_torchcodec:
        pytest.skip("torchcodec is not installed")
    path = encode(tmp_path / "video.mp4", codec)
    indices = [41, 3, 3, 59]
    with open_video(path) as one, open_video(path, backend="torchcodec") as other:
        assert len(other) == len(one)
        difference = (one.frames(indices).int() - other.frames(indices).int()).abs()
        assert difference.float().mean() < 2  # another conversion to RGB, the same pictures


def test_a_written_video_reads_back(make_video: Callable[..., Path]) -> None:
    levels: Tensor = torch.linspace(20, 235, 20)
    with open_video(make_video(length=20)) as video:
        measured = video.frames(range(20)).float().mean(dim=(1, 2, 3))
    assert (measured - levels.to(torch.uint8)).abs().max() < 3
