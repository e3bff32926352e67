from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from t3d.errors import DecodeError
from t3d.video import reencode
from t3d.video.container import open_container
from t3d.video.packets import read_packet_index
from t3d.video.pyav_reader import PyAVVideo
from t3d.video.reencode import NotFaithfulError, prepare_video
from t3d.video.spec import PixelSpec, PreparedForm
from t3d.video.transforms import resize

FORM = PreparedForm(short_side=64, keyframes=4, crf=18)


def _prepare(source: Path, target: Path, form: PreparedForm = FORM, *, first: int = 0, last: int | None = None) -> Path:
    with PyAVVideo(source) as video:
        prepare_video(video, target, form, first=first, last=len(video) if last is None else last)
    return target


def test_frames_times_and_pictures_are_those_of_the_original(tmp_path: Path, encode: Callable[..., Path]) -> None:
    uneven = [0, 1, 2, 5, 6, 9, 10, 11, 20, 21, *range(30, 80)]
    source = encode(tmp_path / "uneven.mkv", "libx264", times=lambda index: uneven[index])
    with PyAVVideo(source) as old, PyAVVideo(_prepare(source, tmp_path / "copy.mkv")) as new:
        assert len(new) == len(old) == 60
        assert new.times_seconds() == pytest.approx([tick / 25 for tick in uneven], abs=1e-3)
        wanted = resize(old.frames(range(60)), PixelSpec(resize=64, crop_size=64))[..., :84]  # 64 / 48 x 64 is 85.3
        found = new.frames(range(60)).permute(0, 3, 1, 2)
        assert found.shape == (60, 3, 64, 84)
        distances = torch.cdist(found.flatten(1).float(), wanted.flatten(1).float())
        assert distances.argmin(dim=1).tolist() == list(range(60))
        assert (found.short() - wanted).abs().float().mean() < 8


def test_every_so_many_frames_a_keyframe_and_nothing_in_another_order(
    tmp_path: Path, encode: Callable[..., Path]
) -> None:
    path = _prepare(encode(tmp_path / "source.mp4", "libx264"), tmp_path / "copy.mp4")
    container, stream = open_container(path, num_threads=1)
    with container:
        index = read_packet_index(container, stream, str(path))
        packets = [(packet.pts, packet.dts) for packet in container.demux(stream) if packet.size]
    assert index is not None
    assert [entry.first_frame for entry in index.entries] == list(range(0, 60, 4))
    assert all(pts == dts for pts, dts in packets)


def test_a_part_begins_at_zero(tmp_path: Path, make_video: Callable[..., Path]) -> None:
    source = make_video(length=20)
    with PyAVVideo(source) as old, PyAVVideo(_prepare(source, tmp_path / "part.mp4", first=5, last=12)) as part:
        assert part.times_seconds() == pytest.approx([index / 25 for index in range(7)])
        brightness = part.frames(range(7)).float().mean(dim=(1, 2, 3))
        assert torch.allclose(brightness, old.frames(range(5, 12)).float().mean(dim=(1, 2, 3)), atol=1.5)


@pytest.mark.parametrize("name", ["ucf101_sample/*/*.avi", "arid6/train/Jump/Jump_11_1.mp4", "asl20/again.mkv"])
def test_containers_without_trustworthy_times_become_seekable(name: str, tmp_path: Path, shared_data: Path) -> None:
    source = next(shared_data.glob(name))
    with PyAVVideo(source) as old, PyAVVideo(_prepare(source, tmp_path / f"copy{source.suffix}")) as new:
        assert new.is_seekable
        assert new.times_seconds() == pytest.approx(old.times_seconds(), abs=1e-3)
        assert new.fps == pytest.approx(old.fps, rel=0.01)


def test_a_single_frame_is_a_video(tmp_path: Path, make_video: Callable[..., Path]) -> None:
    with PyAVVideo(_prepare(make_video(length=1), tmp_path / "copy.mp4")) as video:
        assert len(video) == 1


def test_what_is_too_far_from_the_original_is_refused_and_leaves_nothing(
    tmp_path: Path, encode: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    source = encode(tmp_path / "source.mp4", "libx264")
    monkeypatch.setattr(reencode, "_MAX_DIFFERENCE", 0.001)
    with pytest.raises(NotFaithfulError, match=r"source\.mp4: prepared, frame 0 is .* levels from the original"):
        _prepare(source, tmp_path / "copy.mp4")
    assert [path.name for path in tmp_path.iterdir()] == ["source.mp4"]


def test_a_lost_frame_is_found(
    tmp_path: Path, make_video: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = reencode.encode

    def careless(container: object, frames: object, **named: object) -> None:
        whole(container, list(frames)[:-1], **named)

    monkeypatch.setattr(reencode, "encode", careless)
    with pytest.raises(NotFaithfulError, match="it has 19 frames instead of 20"):
        _prepare(make_video(length=20), tmp_path / "copy.mp4")


def test_a_picture_that_changes_its_size_is_refused(
    tmp_path: Path, make_video: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reencode, "FRAMES_AT_ONCE", 4)
    source, read = make_video(length=8), PyAVVideo.frames

    def turned(video: PyAVVideo, indices: range) -> torch.Tensor:
        frames = read(video, indices)
        return frames if indices[0] < 4 else frames.transpose(1, 2)

    monkeypatch.setattr(PyAVVideo, "frames", turned)
    with pytest.raises(DecodeError, match="changes in mid-video"):
        _prepare(source, tmp_path / "copy.mp4")
