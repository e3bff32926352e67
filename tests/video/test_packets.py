from collections.abc import Callable
from pathlib import Path

import pytest

from t3d.errors import DecodeError
from t3d.video import packets
from t3d.video.container import open_container
from t3d.video.packets import Entry, PacketIndex, damaged, read_packet_index


def read(path: Path) -> PacketIndex | None:
    container, stream = open_container(path, num_threads=1)
    with container:
        return read_packet_index(container, stream, str(path))


def test_entries_are_the_keyframes(tmp_path: Path, encode: Callable[..., Path]) -> None:
    options = {"x264-params": "keyint=20:scenecut=0:open-gop=0"}
    index = read(encode(tmp_path / "closed.mp4", "libx264", options=options))
    assert index is not None
    assert [entry.first_frame for entry in index.entries] == [0, 20, 40]
    assert [entry.pts for entry in index.entries] == [index.timestamps[number] for number in (0, 20, 40)]
    steps = {late - early for early, late in zip(index.timestamps, index.timestamps[1:], strict=False)}
    assert len(index.timestamps) == 60
    assert len(steps) == 1  # a constant rate


def test_the_nearest_entry_is_the_last_not_after_the_frame() -> None:
    index = PacketIndex(tuple(range(30)), (Entry(0, 0, None), Entry(10, 10, None), Entry(20, 20, None)))
    found = [index.entry_before(frame).first_frame for frame in (0, 9, 10, 19, 20, 29)]
    assert found == [0, 0, 10, 10, 20, 20]


@pytest.mark.parametrize(
    ("name", "codec", "pix_fmt"),
    [
        ("no_times.avi", "libx264", "yuv420p"),
        ("not_one_picture_a_packet.mp4", "mpeg4", "yuv420p"),
        ("no_seek.ts", "libx264", "yuv420p"),
        ("picture.gif", "gif", "rgb8"),
    ],
)
def test_no_index_rather_than_a_wrong_one(
    name: str, codec: str, pix_fmt: str, tmp_path: Path, encode: Callable[..., Path]
) -> None:
    assert read(encode(tmp_path / name, codec, pix_fmt=pix_fmt)) is None


def test_times_that_repeat_are_not_trusted(shared_data: Path) -> None:
    assert read(sorted(shared_data.glob("arid6/train/*/*.mp4"))[0]) is None  # every frame is stamped 0


def test_a_header_that_promises_more_packets_than_there_are(tmp_path: Path, encode: Callable[..., Path]) -> None:
    path = encode(tmp_path / "cut.avi", "mpeg4")
    data = path.read_bytes()
    start = data.index(b"movi")
    chunks = [position for position in range(start, len(data)) if data.startswith(b"00dc", position)][:60]
    path.write_bytes(data[: chunks[30]])  # exactly between two packets, so that none is cut short
    with pytest.raises(DecodeError, match="frame 30 of 60 cannot be decoded"):
        read(path)


def test_the_message_has_the_total_only_where_it_is_known() -> None:
    assert str(damaged("a.mp4", 40, 100)) == (
        "a.mp4: frame 40 of 100 cannot be decoded (truncated or damaged file); re-encode or remove it"
    )
    assert "frame 40 cannot" in str(damaged("a.mp4", 40, None))


@pytest.mark.parametrize(
    ("options", "flags"),
    [
        ({"bf": "0", "x264-params": "keyint=7:scenecut=0"}, {}),
        ({"x264-params": "keyint=7:scenecut=0:bframes=2"}, {}),
        ({"bf": "0"}, {"movflags": "frag_keyframe"}),
        ({"bf": "0"}, {"movflags": "frag_keyframe+empty_moov"}),
        ({"bf": "0", "x264-params": "keyint=7:scenecut=0"}, {"movflags": "frag_keyframe+empty_moov+global_sidx"}),
        ({"bf": "0", "x264-params": "keyint=7:scenecut=0"}, {"movflags": "hybrid_fragmented"}),
        ({"bf": "0"}, {"use_editlist": "0"}),
    ],
)
def test_the_table_of_an_mp4_tells_what_its_packets_do(
    options: dict[str, str],
    flags: dict[str, str],
    tmp_path: Path,
    encode: Callable[..., Path],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    path = encode(tmp_path / "video.mp4", "libx264", options=options, container_options=flags)
    quick = read(path)
    monkeypatch.setattr(packets, "_listed_packets", lambda *_: [])
    assert quick == read(path)
    assert quick is None or len(quick.timestamps) == 60


def test_a_table_that_promises_more_than_the_file_holds_is_not_believed(
    tmp_path: Path, encode: Callable[..., Path]
) -> None:
    path = encode(tmp_path / "cut.mp4", "libx264", options={"bf": "0"}, container_options={"movflags": "faststart"})
    path.write_bytes(path.read_bytes()[:-100])  # the last frame, and some of the one before
    with pytest.raises(DecodeError, match="frame 58 of 60 cannot be decoded"):
        read(path)


def test_packets_are_not_read_where_the_table_tells_all(
    tmp_path: Path, encode: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(packets, "_read_packets", lambda *_: pytest.fail("packets were read"))
    assert read(encode(tmp_path / "video.mp4", "libx264", options={"bf": "0"})) is not None
