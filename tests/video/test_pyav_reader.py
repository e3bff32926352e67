import gc
import itertools
import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import av
import pytest
import torch
from cachetools import LRUCache
from torch import Tensor

from t3d.errors import DecodeError
from t3d.video import pyav_reader
from t3d.video.packets import PacketIndex, read_packet_index
from t3d.video.pyav_reader import PyAVVideo

# file name, encoder, what to set; one line for each way of storing pictures that people have
FORMATS = {
    "h264.mp4": ("libx264", {"options": {"g": "15"}}),
    "h264_fragments.mp4": ("libx264", {"container_options": {"movflags": "frag_keyframe+empty_moov"}}),
    "h264_one_keyframe.mov": ("libx264", {}),
    "h264_many_b.mp4": ("libx264", {"options": {"x264-params": "b-pyramid=normal:bframes=8:keyint=30:ref=4"}}),
    "h264_intra_only.mp4": ("libx264", {"options": {"g": "1"}}),
    "h264_open_gop.mp4": ("libx264", {"options": {"x264-params": "open-gop=1:keyint=15:bframes=3"}}),
    "h264_open_gop.mkv": ("libx264", {"options": {"x264-params": "open-gop=1:keyint=15:bframes=3"}}),
    "h264_no_keyframes.mp4": ("libx264", {"options": {"x264-params": "intra-refresh=1:keyint=15"}}),
    "h264_interlaced.mp4": ("libx264", {"options": {"x264-params": "interlaced=1:keyint=15"}}),
    "h264.mkv": ("libx264", {"options": {"g": "15"}}),
    "h264_b_frames.avi": ("libx264", {"options": {"g": "15"}}),
    "h264.ts": ("libx264", {"options": {"g": "15"}}),
    "hevc_open_gop.mp4": ("libx265", {"options": {"x265-params": "keyint=15:open-gop=1:log-level=none:pools=none"}}),
    "vp8_hidden_frames.webm": ("libvpx", {"options": {"auto-alt-ref": "1", "lag-in-frames": "16", "cpu-used": "5"}}),
    "vp9_hidden_frames.webm": ("libvpx-vp9", {"options": {"lag-in-frames": "16", "g": "20", "cpu-used": "8"}}),
    "mpeg4_b_frames.avi": ("mpeg4", {"max_b_frames": 2, "gop_size": 12}),
    "mpeg4_b_frames.mp4": ("mpeg4", {"max_b_frames": 2, "gop_size": 12}),
    "mpeg2_b_frames.mkv": ("mpeg2video", {"max_b_frames": 2}),
    "mpeg1.mpg": ("mpeg1video", {"max_b_frames": 2}),
    "mjpeg.avi": ("mjpeg", {"pix_fmt": "yuvj420p"}),
    "mjpeg.mov": ("mjpeg", {"pix_fmt": "yuvj420p"}),
    "ten_bit.mkv": ("ffv1", {"pix_fmt": "yuv422p10le"}),
    "animation.gif": ("gif", {"pix_fmt": "rgb8"}),
    "flash.flv": ("flv", {}),
}


@pytest.fixture(scope="session", params=FORMATS)
def any_format(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, encode: Callable[..., Path]
) -> Path:
    codec, settings = FORMATS[request.param]
    return encode(tmp_path_factory.mktemp("formats") / request.param, codec, **settings)


def assert_exact(path: Path, truth: Tensor, *, num_random: int = 12) -> None:
    """Random access, descending access and a pass in chunks all give the frames that decoding everything gives."""
    random_order = torch.randint(len(truth), (num_random, 5), generator=torch.Generator().manual_seed(1))
    with PyAVVideo(path) as video:
        assert len(video) == len(truth)
        for indices in random_order:
            assert torch.equal(video.frames(indices), truth[indices]), indices
        for index in range(len(truth) - 1, 0, -len(truth) // (num_random - 2)):
            assert torch.equal(video.frames([index, index - 1]), truth[[index, index - 1]]), index
        for first in range(0, len(truth), 8):
            chunk = list(range(first, min(first + 8, len(truth))))
            assert torch.equal(video.frames(chunk), truth[chunk]), first


def test_every_container_and_codec_is_exact(any_format: Path, decode_everything: Callable[[Path], Tensor]) -> None:
    truth = decode_everything(any_format)
    assert len(truth) == 60
    assert not any(torch.equal(*pair) for pair in itertools.pairwise(truth))  # so an error of one would show
    assert_exact(any_format, truth)


@pytest.mark.parametrize("name", ["pauses.mp4", "pauses.mkv", "pauses.gif"])
def test_variable_frame_rate(
    name: str, tmp_path: Path, encode: Callable[..., Path], decode_everything: Callable[[Path], Tensor]
) -> None:
    codec, pix_fmt = ("gif", "rgb8") if name.endswith("gif") else ("libx264", "yuv420p")
    path = encode(
        tmp_path / name, codec, pix_fmt=pix_fmt, options={"g": "15"}, times=lambda index: index + 50 * (index >= 20)
    )
    assert_exact(path, decode_everything(path))
    with PyAVVideo(path) as video:
        assert video.frame_range(0.0, 0.8) == (0, 20)  # 20 frames at 25 fps, then a pause of two seconds
        assert video.frame_range(0.8, 2.8) == (20, 20)
        assert video.frame_range(2.8, 3.0) == (20, 25)


def test_average_rate_counts_the_pauses(tmp_path: Path, encode: Callable[..., Path]) -> None:
    path = encode(tmp_path / "pauses.mkv", "libx264", times=lambda index: 3 * index)
    with PyAVVideo(path) as video:
        assert video.fps == pytest.approx(25 / 3, rel=1e-3)


def test_odd_sizes_are_kept(
    tmp_path: Path,
    encode: Callable[..., Path],
    drifting: Callable[..., list],
    decode_everything: Callable[[Path], Tensor],
) -> None:
    path = encode(tmp_path / "odd.mp4", "libx264", pictures=drifting(20, size=(45, 63)), pix_fmt="yuv444p")
    with PyAVVideo(path) as video:
        assert video.frames([0]).shape == (1, 45, 63, 3)
    assert_exact(path, decode_everything(path))


def test_order_and_repeats_are_the_callers(make_video: Callable[..., Path]) -> None:
    with PyAVVideo(make_video(length=12)) as video:
        brightness = video.frames([11, 0, 5, 5]).float().mean(dim=(1, 2, 3))
    assert brightness[2] == brightness[3]
    assert brightness[0] > brightness[2] > brightness[1]


@pytest.mark.parametrize("suffix", [".mp4", ".mkv"])
def test_a_stream_that_starts_without_a_keyframe(
    suffix: str,
    tmp_path: Path,
    encode: Callable[..., Path],
    remux: Callable[..., Path],
    decode_everything: Callable[[Path], Tensor],
) -> None:
    whole = encode(tmp_path / "whole.mp4", "libx264", options={"g": "20"})
    cut = remux(whole, tmp_path / f"cut{suffix}", keep=lambda number: number >= 7)
    assert_exact(cut, decode_everything(cut))


def test_an_open_group_whose_first_pictures_lean_on_missing_ones(
    tmp_path: Path, encode: Callable[..., Path], remux: Callable[..., Path], decode_everything: Callable[[Path], Tensor]
) -> None:
    options = {"x264-params": "open-gop=1:keyint=15:bframes=3:scenecut=0"}
    whole = encode(tmp_path / "whole.mp4", "libx264", options=options)
    cut = remux(whole, tmp_path / "cut.mkv", keep=lambda number: number >= 15)
    assert_exact(cut, decode_everything(cut))


@pytest.mark.parametrize("shift", [-1.0, -0.13, 1.5])
def test_frames_hidden_by_an_edit_list_do_not_count(
    shift: float,
    tmp_path: Path,
    encode: Callable[..., Path],
    remux: Callable[..., Path],
    decode_everything: Callable[[Path], Tensor],
) -> None:
    whole = encode(tmp_path / "whole.mp4", "libx264", options={"g": "15"})
    moved = remux(whole, tmp_path / "moved.mp4", shift=shift)
    truth = decode_everything(moved)
    assert (len(truth) < 60) == (shift < 0)
    assert_exact(moved, truth)
    with PyAVVideo(moved) as video:
        assert video.frame_range(None, 0.4) == (0, 10)  # time counts from the first frame that is shown


def test_seconds_become_frames(make_video: Callable[..., Path]) -> None:
    with PyAVVideo(make_video(length=20, fps=10.0)) as video:
        assert video.fps == 10.0
        assert video.frame_range(None, None) == (0, 20)
        assert video.frame_range(0.5, 1.5) == (5, 15)
        assert video.frame_range(0.51, None) == (6, 20)
        assert video.frame_range(1.9, 99.0) == (19, 20)
        assert video.frame_range(5.0, 6.0) == (20, 20)


def test_a_whole_pass_decodes_each_frame_once(make_video: Callable[..., Path], monkeypatch: pytest.MonkeyPatch) -> None:
    with PyAVVideo(make_video(length=24)) as video:
        restarts = []
        restart = video._restart
        monkeypatch.setattr(video, "_restart", lambda index: restarts.append(index) or restart(index))
        for first in range(0, 24, 4):
            video.frames(range(first, first + 4))
        assert restarts == []
        video.frames([0])
        assert restarts == [0]


def test_packets_are_read_once_for_each_state_of_a_file(
    tmp_path: Path, any_format: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    reads = []
    monkeypatch.setattr(pyav_reader, "read_packet_index", lambda *each: reads.append(each) or read_packet_index(*each))
    path = tmp_path / any_format.name
    path.write_bytes(any_format.read_bytes())
    seen = []
    for _ in range(2):
        with PyAVVideo(path) as video:
            seen.append((len(video), video.fps, video.is_seekable, video.frames([17, 3, 40])))
    assert len(reads) == 1
    assert seen[0][:3] == seen[1][:3]
    assert torch.equal(seen[0][3], seen[1][3])
    os.utime(path, ns=(0, 1))
    PyAVVideo(path).close()
    assert len(reads) == 2


def test_seeking_goes_to_the_nearest_keyframe(tmp_path: Path, encode: Callable[..., Path]) -> None:
    path = encode(tmp_path / "keys.mp4", "libx264", options={"x264-params": "keyint=10:scenecut=0:open-gop=0"})
    with PyAVVideo(path) as video:
        assert video.is_seekable
        video.frames([37])
        assert next(video._decoded)[0] == 38  # nothing after the frame was decoded
        video.frames([5])
        assert next(video._decoded)[0] == 6


def test_negative_missing_and_no_frames_are_refused(make_video: Callable[..., Path]) -> None:
    path = make_video(length=6)
    with PyAVVideo(path) as video:
        for indices, words in [([-1], "count from 0"), ([], "at least one"), ([2, 6], "frame 6 does not exist")]:
            with pytest.raises(DecodeError, match=words) as caught:
                video.frames(indices)
            assert str(caught.value).startswith(f"{path}: ")
        assert video.frames([5]).shape[0] == 1  # and the reader still works


@pytest.mark.parametrize("cut_bytes", [0, 40, 400])
@pytest.mark.parametrize("name", ["cut.avi", "cut.mkv", "cut.webm", "cut.mp4", "faststart.mp4", "cut.mpg"])
def test_a_file_cut_at_60_percent_says_which_frame_is_gone(
    name: str, cut_bytes: int, tmp_path: Path, encode: Callable[..., Path]
) -> None:
    codec = {"avi": "mpeg4", "webm": "libvpx-vp9", "mpg": "mpeg1video"}.get(name.rsplit(".", 1)[1], "libx264")
    container_options = {"movflags": "faststart"} if name.startswith("faststart") else {}
    options = {"cpu-used": "8", "deadline": "realtime"} if codec == "libvpx-vp9" else {}
    path = encode(tmp_path / name, codec, options=options, container_options=container_options)
    data = path.read_bytes()
    path.write_bytes(data[: len(data) * 6 // 10 + cut_bytes])
    with pytest.raises(DecodeError) as caught:
        PyAVVideo(path)
    message = str(caught.value)
    assert message.startswith(f"{path}: ")
    assert message.endswith("re-encode or remove it")
    assert "\n" not in message
    if name != "cut.mp4":  # whose table of contents was at the end
        assert "cannot be decoded (truncated or damaged file)" in message


def test_a_file_cut_between_two_packets_is_cut(tmp_path: Path, encode: Callable[..., Path]) -> None:
    path = encode(tmp_path / "whole.mp4", "libx264", container_options={"movflags": "faststart"})
    with av.open(str(path)) as container:
        ends = sorted(packet.pos + packet.size for packet in container.demux(video=0) if packet.size)
    data = path.read_bytes()
    for number in (1, 30, 59):
        path.write_bytes(data[: ends[number - 1]])
        with pytest.raises(DecodeError, match=f"frame {number} of 60 cannot be decoded"):
            PyAVVideo(path)


def wipe(path: Path, number: int) -> None:
    """Write zeros over the packet of this number."""
    with av.open(str(path)) as container:
        packet = list(container.demux(video=0))[number]
        start, length = packet.pos, packet.size
    data = bytearray(path.read_bytes())
    data[start : start + length] = bytes(length)
    path.write_bytes(data)


@pytest.mark.parametrize("name", ["hole.mp4", "hole.avi"])
def test_a_hole_in_the_middle_is_named_and_what_lies_before_it_can_be_had(
    name: str,
    tmp_path: Path,
    encode: Callable[..., Path],
    decode_everything: Callable[[Path], Tensor],
) -> None:
    codec, pix_fmt = ("libx264", "yuv420p") if name.endswith("mp4") else ("mjpeg", "yuvj420p")
    path = encode(tmp_path / name, codec, pix_fmt=pix_fmt, options={"g": "15"})
    truth = decode_everything(path)
    wipe(path, 40)
    with PyAVVideo(path) as video:
        assert torch.equal(video.frames([3, 8]), truth[[3, 8]])
        for _ in range(2):  # the answer does not depend on what was asked before
            with pytest.raises(DecodeError, match=r"frame \d+.* cannot be decoded"):
                video.frames(range(len(truth)))


def test_a_packet_without_a_picture_is_named(tmp_path: Path, encode: Callable[..., Path]) -> None:
    path = encode(tmp_path / "filler.mp4", "libx264", options={"x264-params": "keyint=60:bframes=0"})
    with av.open(str(path)) as container:
        packet = list(container.demux(video=0))[40]
        start, length = packet.pos, packet.size
    data = bytearray(path.read_bytes())
    filler = (length - 4).to_bytes(4, "big") + bytes([12]) + b"\xff" * (length - 6) + b"\x80"  # NAL unit type 12
    data[start : start + length] = filler
    path.write_bytes(data)
    with PyAVVideo(path) as video:
        assert len(video) == 60
        assert video.frames([10]).shape[0] == 1
        with pytest.raises(DecodeError, match="frame 40 of 60 cannot be decoded"):
            video.frames([50])


def lie(monkeypatch: pytest.MonkeyPatch, change: Callable[[tuple[int, ...]], tuple[int, ...]]) -> None:
    def read(*arguments: object) -> PacketIndex:
        index = read_packet_index(*arguments)
        assert index is not None
        return replace(index, timestamps=change(index.timestamps))

    monkeypatch.setattr(pyav_reader, "read_packet_index", read)
    pyav_reader.forget_files()  # what was read before was true


def test_what_is_known_of_files_has_its_bounds(
    make_video: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    reads: list[str] = []

    def read(container: object, stream: object, name: str) -> PacketIndex | None:
        reads.append(Path(name).stem)
        return read_packet_index(container, stream, name)  # type: ignore[arg-type]

    monkeypatch.setattr(pyav_reader, "read_packet_index", read)
    monkeypatch.setattr(pyav_reader, "_INDEXES", LRUCache(1))  # of one file
    one, other = make_video("one.mp4"), make_video("other.mp4")
    for path in (one, one, other, other, one):
        PyAVVideo(path).close()
    assert reads == ["one", "other", "one"]


def test_an_index_that_proves_wrong_is_dropped(
    tmp_path: Path,
    encode: Callable[..., Path],
    decode_everything: Callable[[Path], Tensor],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    path = encode(tmp_path / "video.mp4", "libx264", options={"g": "15"})
    for wrong in (0, 31, 59):
        lie(monkeypatch, lambda times, wrong=wrong: (*times[:wrong], times[wrong] + 1, *times[wrong + 1 :]))
        with PyAVVideo(path) as video:
            assert video.is_seekable == (wrong > 0)  # the first picture is always looked at
        assert_exact(path, decode_everything(path), num_random=5)


def test_a_length_once_told_must_hold(
    tmp_path: Path, encode: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    path = encode(tmp_path / "video.mp4", "libx264", options={"g": "15"})
    lie(monkeypatch, lambda times: (*times, times[-1] + 512))
    with PyAVVideo(path) as video:
        assert len(video) == 61
        assert video.frames([3]).shape[0] == 1
        for index in (60, 60, 50):  # decoding to the end is what shows it; and it is not forgotten
            with pytest.raises(DecodeError, match="frame 60 of 61 cannot be decoded"):
                video.frames([index, 60])


def test_a_picture_that_changes_size_is_refused(
    tmp_path: Path, encode: Callable[..., Path], drifting: Callable[..., list]
) -> None:
    small = encode(tmp_path / "small.m2v", "mpeg2video", pictures=drifting(10, size=(48, 64)))
    large = encode(tmp_path / "large.m2v", "mpeg2video", pictures=drifting(10, size=(64, 96)))
    both = tmp_path / "both.m2v"
    both.write_bytes(small.read_bytes() + large.read_bytes())
    with PyAVVideo(both) as video, pytest.raises(DecodeError, match="size of the picture changes"):
        video.frames(range(len(video)))


def test_threads_do_not_change_pictures(tmp_path: Path, encode: Callable[..., Path]) -> None:
    path = encode(tmp_path / "threads.mp4", "libx264", options={"g": "15"})
    with PyAVVideo(path) as one, PyAVVideo(path, num_threads=2) as two:
        assert two._stream.codec_context.thread_count == 2
        assert torch.equal(one.frames(range(0, 60, 3)), two.frames(range(0, 60, 3)))


def test_files_are_closed_also_after_errors(tmp_path: Path, make_video: Callable[..., Path]) -> None:
    descriptors = Path("/proc/self/fd")
    if not descriptors.is_dir():
        pytest.skip("this system does not list open files in /proc")
    good, bad = make_video(), tmp_path / "bad.mkv"
    make_video("whole.mkv").rename(bad)
    bad.write_bytes(bad.read_bytes()[:-400])
    gc.collect()
    before = len(list(descriptors.iterdir()))
    for _ in range(5):
        with PyAVVideo(good) as video:
            video.frames([1])
        with pytest.raises(DecodeError, match="truncated"):
            PyAVVideo(bad)
    assert len(list(descriptors.iterdir())) == before


def test_ffmpeg_says_nothing_itself(
    tmp_path: Path, encode: Callable[..., Path], capfd: pytest.CaptureFixture[str]
) -> None:
    path = encode(tmp_path / "noisy.mp4", "libx264", options={"g": "15"})
    wipe(path, 40)
    capfd.readouterr()
    with PyAVVideo(path) as video, pytest.raises(DecodeError):
        video.frames(range(60))
    assert capfd.readouterr() == ("", "")


def test_real_videos_are_exact(shared_data: Path, decode_everything: Callable[[Path], Tensor]) -> None:
    names = ("ucf101_sample/**/*.avi", "ud810_ps7/**/*.avi", "asl20/**/*.mkv", "arid6/**/*.mp4", "weizmann4/**/*.mp4")
    for name in names:
        path = min(shared_data.glob(name), key=lambda path: (path.stat().st_size, path))
        assert_exact(path, decode_everything(path), num_random=5)
