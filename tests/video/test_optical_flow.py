import errno
import logging
import os
import sys
import zipfile
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor

from t3d.errors import CheckpointError, ConfigError, DecodeError
from t3d.video import optical_flow
from t3d.video.decode import open_video
from t3d.video.optical_flow import METHODS, FlowVideo, flow_kind, load_opencv, open_flow, quantise, seen
from t3d.video.reader import ArrayVideo
from t3d.video.spec import PixelSpec

PIXELS = PixelSpec(resize=64, crop_size=64, modality="flow")
SMALL = replace(PIXELS, resize=32, crop_size=32)
BOUND = 0.08 * 64


def _drifting(length: int = 6, *, right: int = 2, down: int = -1, size: tuple[int, int] = (64, 80)) -> Tensor:
    """A soft texture (T, H, W, 3) that moves by whole pixels and comes in again on the other side."""
    coarse = torch.rand((1, 3, 8, 10), generator=torch.Generator().manual_seed(0)) * 255
    texture = torch.nn.functional.interpolate(coarse, size, mode="bicubic").clamp(0, 255)[0].permute(1, 2, 0).byte()
    return torch.stack([texture.roll((index * down, index * right), dims=(0, 1)) for index in range(length)])


def _motion(flow: Tensor, bound: float = BOUND) -> NDArray[np.float32]:
    """Bytes back to pixels, away from the borders."""
    return ((flow[:, 12:-12, 12:-12].numpy().astype(np.float32) - 128) * bound / 127).astype(np.float32)


@pytest.mark.parametrize("method", METHODS)
def test_a_texture_that_moves_gives_its_displacement(method: str) -> None:
    flow = FlowVideo(ArrayVideo(_drifting()), replace(PIXELS, flow_method=method)).frames(range(5))
    assert (flow.dtype, flow.shape) == (torch.uint8, (5, 64, 80, 2))
    motion = _motion(flow)
    assert np.abs(np.median(motion, axis=(1, 2)) - (2, -1)).max() < 0.1
    assert np.abs(motion - (2, -1)).mean() < 0.2


def test_levels_in_closed_form() -> None:
    """128 + 127 x flow / bound, rounded, held between 1 and 255."""
    flow = np.array([[[0, 0], [5, -5], [2.5, -2.5], [9, -9], [0.01, -0.03]]], dtype=np.float32)
    assert quantise(flow, 5.0).tolist() == [[[128, 128], [255, 1], [192, 64], [255, 1], [128, 127]]]


def test_the_opposite_motion_is_the_opposite_byte_exactly() -> None:
    flow = torch.randn(1000, 2, 2, generator=torch.Generator().manual_seed(0)).mul(3).numpy()
    total = quantise(flow, 5.0).astype(int) + quantise(-flow, 5.0)
    assert (total == 256).all()


def test_the_bound_is_a_share_of_the_short_side() -> None:
    """So pictures twice as large, whose motion is twice as many pixels, give the same bytes."""
    frames = _drifting(2)
    half, whole = (
        FlowVideo(ArrayVideo(frames), replace(PIXELS, resize=size, crop_size=32, flow_bound=0.16)).frames([0])
        for size in (32, 64)
    )
    assert (half.shape, whole.shape) == ((1, 32, 40, 2), (1, 64, 80, 2))
    medians = [np.median(flow[0, 6:-6, 6:-6].numpy(), axis=(0, 1)) for flow in (half, whole)]
    assert medians[1] == pytest.approx(128 + np.array([127 * 2 / 10.24, -127 / 10.24]), abs=1)
    assert medians[0] == pytest.approx(medians[1], abs=1.5)


def test_each_frame_is_its_own_motion_to_the_next_one_whatever_is_asked_for() -> None:
    """Twenty frames are more than are decoded at once."""
    frames = torch.cat([_drifting(10), _drifting(10, right=-1, down=2)])
    every = FlowVideo(ArrayVideo(frames), SMALL).frames(range(20))
    for indices in ([4], [18, 3, 3, 11], [0, 2, 4], list(range(15, 20))):
        assert FlowVideo(ArrayVideo(frames), SMALL).frames(indices).equal(every[indices])
    reader = FlowVideo(ArrayVideo(frames), SMALL)
    assert torch.cat([reader.frames([0, 1]), reader.frames([2, 3]), reader.frames([1])]).equal(every[[0, 1, 2, 3, 1]])


def test_length_rate_and_times_are_those_of_the_video_and_the_last_motion_is_repeated(
    make_video: Callable[..., Path],
) -> None:
    path = make_video(length=10, fps=20.0)
    with open_video(path) as video, open_flow(path, pixels=SMALL) as flow:
        assert (len(flow), flow.fps, flow.name) == (len(video), video.fps, video.name)
        assert flow.frame_range(0.1, 0.3) == video.frame_range(0.1, 0.3) == (2, 6)
        assert flow.frames([9]).equal(flow.frames([8]))
        with pytest.raises(DecodeError, match="frame 10 does not exist"):
            flow.frames([10])


def test_a_single_picture_does_not_move() -> None:
    assert FlowVideo(ArrayVideo(_drifting(1)), SMALL).frames([0, 0]).eq(128).all()


def test_pictures_that_change_their_size_are_refused(fake_video: Callable[..., Any]) -> None:
    video = fake_video(40, size=(32, 40))
    flow = FlowVideo(video, SMALL)
    flow.frames([0])
    video.size = (32, 48)
    with pytest.raises(DecodeError, match="fake: the size of the picture changes in mid-video"):
        flow.frames([1])


def test_only_flow_is_wrapped() -> None:
    video = ArrayVideo(_drifting(2))
    assert seen(video, PixelSpec()) is video
    assert isinstance(seen(video, PIXELS), FlowVideo)


def test_threads_of_opencv_are_as_they_were() -> None:
    opencv = load_opencv()
    before = opencv.getNumThreads()
    opencv.setNumThreads(2)
    FlowVideo(ArrayVideo(_drifting(3)), SMALL).frames([0])
    assert opencv.getNumThreads() == 2
    opencv.setNumThreads(before)


def test_without_opencv_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "cv2", None)
    with pytest.raises(ConfigError, match=r"--modality flow needs OpenCV .*; install 't3d\[flow\]'"):
        FlowVideo(ArrayVideo(_drifting(2)), PIXELS)


@pytest.fixture
def texture(encode: Callable[..., Path], tmp_path: Path) -> Path:
    """A file of twenty frames."""
    return encode(tmp_path / "texture.mp4", "libx264", pictures=list(_drifting(20).numpy()))


def _read(path: Path, folder: Path | None, indices: list[int] | None = None) -> Tensor:
    with open_flow(path, pixels=SMALL, folder=folder) as video:
        return video.frames(indices or list(range(20)))


def test_values_do_not_depend_on_the_cache(texture: Path, tmp_path: Path) -> None:
    bare, first, second = (_read(texture, folder) for folder in (None, tmp_path / "kept", tmp_path / "kept"))
    assert bare.equal(first)
    assert bare.equal(second)
    assert [file.suffix for file in (tmp_path / "kept").iterdir()] == [".zip"]
    assert _read(texture, tmp_path / "kept", [7, 3, 19]).equal(bare[[7, 3, 19]])


def test_what_is_kept_is_not_computed_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    frames = _drifting(3)
    kept = tmp_path / "flow.zip"
    first = FlowVideo(ArrayVideo(frames), SMALL, kept=kept).frames([0, 1, 2])
    again = ArrayVideo(frames)
    monkeypatch.setattr(again, "frames", None)
    assert FlowVideo(again, SMALL, kept=kept).frames([0, 1, 2]).equal(first)


def test_another_file_method_size_or_bound_is_kept_apart(texture: Path, tmp_path: Path) -> None:
    folder = tmp_path / "kept"
    _read(texture, folder)
    stamp = texture.stat().st_mtime_ns + 1_000_000_000
    os.utime(texture, ns=(stamp, stamp))
    _read(texture, folder)
    assert len(list(folder.iterdir())) == 2
    changes = {"flow_method": "farneback", "flow_bound": 0.1, "resize": 40, "resize_mode": "exact"}
    others = [replace(SMALL, **{name: value}) for name, value in changes.items()]
    kinds = {flow_kind(pixels, backend="pyav") for pixels in (SMALL, *others)} | {flow_kind(SMALL, backend="x")}
    assert len(kinds) == 6
    assert flow_kind(replace(SMALL, crop_size=24), backend="pyav") in kinds  # cropped later


@pytest.mark.parametrize("library", ["torch", "av", "cv2"])
def test_another_release_of_a_library_is_kept_apart(library: str, monkeypatch: pytest.MonkeyPatch) -> None:
    before = flow_kind(SMALL, backend="pyav")
    monkeypatch.setattr(sys.modules[library], "__version__", "0.0")
    assert flow_kind(SMALL, backend="pyav") != before


def test_damage_never_changes_a_value(tmp_path: Path) -> None:
    frames = _drifting(3)
    kept = tmp_path / "flow.zip"
    expected = FlowVideo(ArrayVideo(frames), SMALL, kept=kept).frames([0, 1])
    whole = kept.read_bytes()
    for damaged in (
        b"",
        whole[:-1],
        whole[: len(whole) // 2],
        *(_flipped(whole, at) for at in range(0, len(whole), 97)),
    ):
        kept.write_bytes(damaged)
        assert FlowVideo(ArrayVideo(frames), SMALL, kept=kept).frames([0, 1]).equal(expected)


def _flipped(data: bytes, at: int) -> bytes:
    return data[:at] + bytes([data[at] ^ 0xFF]) + data[at + 1 :]


def test_damage_is_said_once(texture: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    folder = tmp_path / "kept"
    expected = _read(texture, folder)
    (file,) = folder.iterdir()
    file.write_bytes(file.read_bytes()[:500])
    with caplog.at_level(logging.WARNING, logger="t3d"):
        assert _read(texture, folder).equal(expected)
        assert _read(texture, folder).equal(expected)
    assert [record.getMessage() for record in caplog.records] == [f"{file}: damaged, computed anew from {texture}"]


def test_a_full_disk_is_named_and_leaves_nothing(
    texture: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(archive: zipfile.ZipFile, name: str, data: bytes) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(optical_flow.zipfile.ZipFile, "writestr", full)
    with pytest.raises(CheckpointError, match=r"\.zip: flow cannot be kept \(No space left on device\); make room"):
        _read(texture, tmp_path / "kept")
    assert list((tmp_path / "kept").iterdir()) == []


def test_two_processes_may_fill_one_cache_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """While one writes the file, another of another number writes it whole."""
    frames, kept = _drifting(20), tmp_path / "flow.zip"
    of_the_other: list[Tensor] = []

    class Overtaken(ArrayVideo):
        def frames(self, indices: Sequence[int] | Tensor) -> Tensor:
            if not of_the_other:
                assert [path.name for path in tmp_path.iterdir()] == [f".flow.{os.getpid()}.partial.zip"]
                with monkeypatch.context() as other:
                    other.setattr(os, "getpid", lambda: 1)
                    of_the_other.append(FlowVideo(ArrayVideo(frames), SMALL, kept=kept).frames(range(20)))
            return super().frames(indices)

    flow = FlowVideo(Overtaken(frames), SMALL, kept=kept).frames(range(20))
    assert flow.equal(of_the_other[0])
    assert flow.equal(FlowVideo(ArrayVideo(frames), SMALL).frames(range(20)))
    assert [path.name for path in tmp_path.iterdir()] == ["flow.zip"]
