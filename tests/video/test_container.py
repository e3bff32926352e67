import os
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest

from t3d.errors import DecodeError
from t3d.video import container as container_module
from t3d.video.container import open_container, plausible_fps
from t3d.video.decode import open_video
from t3d.video.pyav_reader import PyAVVideo


def write_sound(path: Path) -> None:
    with av.open(str(path), "w") as container:
        stream = container.add_stream("aac", rate=16000)
        frame = av.AudioFrame(format="fltp", layout="mono", samples=1024)
        frame.sample_rate = 16000
        frame.planes[0].update(bytes(4096))
        container.mux(stream.encode(frame))
        container.mux(stream.encode())


def test_what_is_no_video_is_refused_in_one_line(tmp_path: Path) -> None:
    (tmp_path / "folder.mp4").mkdir()
    (tmp_path / "empty.mp4").touch()
    (tmp_path / "text.mp4").write_text("a text\n" * 100)
    (tmp_path / "notes.txt").write_text("a text\n" * 100)
    (tmp_path / "list.m3u8").write_text("#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\nmissing.ts\n#EXT-X-ENDLIST\n")
    write_sound(tmp_path / "sound.mp4")
    for name, words in {
        "missing.mp4": "no such file",
        "folder.mp4": "is a folder",
        "empty.mp4": "empty \\(0 bytes\\)",
        "text.mp4": "not a video",
        "notes.txt": "playlist or text, not a video",
        "list.m3u8": "not a video",
        "sound.mp4": "no video stream",
    }.items():
        with pytest.raises(DecodeError, match=words) as caught:
            open_container(tmp_path / name, num_threads=1)
        assert str(caught.value).startswith(f"{tmp_path / name}: ")
        assert "\n" not in str(caught.value)
        assert "; " in str(caught.value)  # the remedy


def test_a_playlist_never_opens_what_it_names(tmp_path: Path, encode: Callable[..., Path]) -> None:
    segment = encode(tmp_path / "segment.ts", "libx264")
    playlist = tmp_path / "list.m3u8"
    playlist.write_text(f"#EXTM3U\n#EXT-X-TARGETDURATION:9\n#EXTINF:2.4,\n{segment.name}\n#EXT-X-ENDLIST\n")
    with pytest.raises(DecodeError, match=r"playlist|not a video"):
        open_container(playlist, num_threads=1)


def test_sound_with_a_cover_picture_is_no_video(tmp_path: Path, drifting: Callable[..., list]) -> None:
    path = tmp_path / "song.mp4"
    with av.open(str(path), "w") as container:
        sound = container.add_stream("aac", rate=16000)
        cover = container.add_stream("mjpeg", rate=1)
        cover.height, cover.width, cover.pix_fmt = 48, 64, "yuvj420p"
        cover.disposition = av.stream.Disposition.attached_pic
        container.mux(cover.encode(av.VideoFrame.from_ndarray(drifting(1)[0], format="rgb24")))
        container.mux(cover.encode())
        frame = av.AudioFrame(format="fltp", layout="mono", samples=1024)
        frame.sample_rate = 16000
        frame.planes[0].update(bytes(4096))
        container.mux(sound.encode(frame))
        container.mux(sound.encode())
    with pytest.raises(DecodeError, match="no video stream"):
        open_container(path, num_threads=1)


@pytest.mark.parametrize(
    ("edge", "words"), [(12000, "claims pictures of 12000 x 12000"), (60000, "not a single frame can be decoded")]
)
def test_a_claim_of_enormous_pictures_is_not_believed(
    edge: int, words: str, tmp_path: Path, encode: Callable[..., Path]
) -> None:
    path = encode(tmp_path / "huge.avi", "rawvideo")
    data = path.read_bytes()
    size = (64).to_bytes(4, "little") + (48).to_bytes(4, "little")
    assert size in data
    path.write_bytes(data.replace(size, edge.to_bytes(4, "little") * 2))
    with pytest.raises(DecodeError, match=words):
        len(open_video(path))


def test_a_claim_of_absurdly_many_frames_is_not_believed(tmp_path: Path, encode: Callable[..., Path]) -> None:
    path = encode(tmp_path / "endless.avi", "mpeg4")
    data = path.read_bytes()
    count = (60).to_bytes(4, "little")
    start = data.index(b"strh") + 40  # dwLength
    assert data[start : start + 4] == count
    path.write_bytes(data[:start] + (2**31 - 1).to_bytes(4, "little") + data[start + 4 :])
    with pytest.raises(DecodeError, match="frame 60 of 2147483647 cannot be decoded"):
        open_video(path)


def test_the_decoder_too_knows_the_limit(
    tmp_path: Path, encode: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    path = encode(tmp_path / "video.mp4", "libx264")
    container, stream = open_container(path, num_threads=1)
    with container:
        assert stream.codec_context.options["max_pixels"] == str(2**26)
    monkeypatch.setattr(container_module, "_MAX_PIXELS", 48 * 64)
    open_container(path, num_threads=1)[0].close()
    monkeypatch.setattr(container_module, "_MAX_PIXELS", 48 * 64 - 1)
    with pytest.raises(DecodeError, match="claims pictures of 64 x 48"):
        open_container(path, num_threads=1)


def test_names_ffmpeg_would_take_for_a_protocol_or_pattern(
    tmp_path: Path, encode: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    source = encode(tmp_path / "plain.mp4", "libx264")
    for name in ("concat:a.mp4", "frame%03d.mp4", "späße 1.mp4", "-i.mp4"):
        Path(name).write_bytes(source.read_bytes())
        open_container(Path(name), num_threads=1)[0].close()


def test_an_unreadable_file_is_named(tmp_path: Path, encode: Callable[..., Path]) -> None:
    path = encode(tmp_path / "locked.mp4", "libx264")
    path.chmod(0)
    if os.access(path, os.R_OK):
        pytest.skip("this user may read every file")
    with pytest.raises(DecodeError, match=r"locked\.mp4"):
        open_container(path, num_threads=1)


def test_threads_are_capped(tmp_path: Path, encode: Callable[..., Path]) -> None:
    path = encode(tmp_path / "video.mp4", "libx264")
    for num_threads in (1, 3):
        container, stream = open_container(path, num_threads=num_threads)
        with container:
            assert stream.codec_context.thread_count == num_threads


@pytest.mark.parametrize(
    ("stated", "expected"),
    [
        ((Fraction(30000, 1001), 30), 30000 / 1001),
        ((1680, 30), 30.0),
        ((None, 24), 24.0),
        ((0, None), 25.0),
        ((90000, 90000), 25.0),
        ((-3, 12), 12.0),
    ],
)
def test_absurd_rates_are_not_believed(stated: tuple[float | None, ...], expected: float) -> None:
    assert plausible_fps(*stated) == expected


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
