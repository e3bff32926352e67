from collections.abc import Callable
from pathlib import Path

import pyarrow
import pyarrow.parquet
import pytest

from t3d.data.samples import UNLABELLED, VideoList
from t3d.data.unlabelled import load_unlabelled
from t3d.errors import DataError

Write = Callable[..., Path]
Touch = Callable[..., Path]
MakeList = Callable[..., VideoList]


def pieces(videos: VideoList) -> list[tuple[str, float | None, float | None]]:
    return [(sample.path.name, sample.start_seconds, sample.end_seconds) for sample in videos.samples]


def test_a_folder_gives_every_video_at_any_depth(touch: Touch) -> None:
    root = touch("b.mp4", "a/deep/er/1.AVI", "a/2.webm", "a/notes.txt", ".hidden.mp4", ".cache/3.mp4", "train/x/4.mkv")
    videos = load_unlabelled(root)
    assert [sample.name for sample in videos.samples] == ["a/2.webm", "a/deep/er/1.AVI", "b.mp4", "train/x/4.mkv"]
    assert [sample.path for sample in videos.samples] == [root / sample.name for sample in videos.samples]
    assert [sample.group for sample in videos.samples] == [sample.name for sample in videos.samples]
    assert {sample.label for sample in videos.samples} == {UNLABELLED}
    assert (videos.labels, videos.format, videos.root, videos.warnings, videos.missing) == (
        (),
        "unlabelled",
        root,
        (),
        (),
    )


def test_links_are_followed_once(touch: Touch) -> None:
    root, other = touch("a/1.mp4"), touch("2.mp4", root="other")
    (root / "a" / "up").symlink_to(root)
    (root / "one").symlink_to(other)
    (root / "two").symlink_to(other)
    assert [sample.name for sample in load_unlabelled(root).samples] == ["a/1.mp4", "one/2.mp4"]


def test_a_list_in_the_folder_is_no_reason_to_leave_videos_out(touch: Touch, write: Write) -> None:
    write("videos.csv", "path,label\na.mp4,x\n")
    assert len(load_unlabelled(touch("a.mp4", "b.mp4")).samples) == 2


def test_one_video(touch: Touch) -> None:
    videos = load_unlabelled(touch("clips/a.mp4") / "clips" / "a.mp4")
    assert pieces(videos) == [("a.mp4", None, None)]
    assert (videos.samples[0].name, videos.samples[0].group) == ("a.mp4", "a.mp4")


def test_a_table_without_its_labels_and_splits(touch: Touch, write: Write) -> None:
    root = touch("clips/a.mp4", "clips/b.mp4")
    path = write(
        "list.csv",
        "Path,label,start,end,split,group\nclips/a.mp4,x,0,2.5,train,anna\n./clips/a.mp4,,2.5,,test,\nclips/b.mp4,y,,,,\n",
    )
    videos = load_unlabelled(path)
    assert pieces(videos) == [("a.mp4", 0.0, 2.5), ("a.mp4", 2.5, None), ("b.mp4", None, None)]
    assert [sample.group for sample in videos.samples] == ["anna", "clips/a.mp4", "clips/b.mp4"]
    assert {sample.label for sample in videos.samples} == {UNLABELLED}
    assert videos.samples[2].path == root / "clips" / "b.mp4"
    assert len(videos.warnings) == 1
    assert "label and split of its rows are not used" in videos.warnings[0]


def test_parquet(touch: Touch) -> None:
    root = touch("a.mp4", "b.mp4")
    table = pyarrow.table({"path": ["a.mp4", "b.mp4", "a.mp4"], "start": [None, 0.5, 1.0], "end": [None, None, 2.0]})
    pyarrow.parquet.write_table(table, root / "pieces.parquet")
    videos = load_unlabelled(root / "pieces.parquet")
    assert pieces(videos) == [("a.mp4", None, None), ("b.mp4", 0.5, None), ("a.mp4", 1.0, 2.0)]
    assert [sample.group for sample in videos.samples] == ["a.mp4", "b.mp4", "a.mp4"]


@pytest.mark.parametrize("suffix", [".txt", ".csv", ".tsv", ""])
@pytest.mark.parametrize(
    "text",
    [
        "# seconds\nmy clip.mp4 0 2.5\n\nmy clip.mp4 2.5 5\n./b.mp4 3\n  b.mp4\n",
        "my clip.mp4\t0\t2.5\r\nmy clip.mp4\t2.5\t5\r\nb.mp4\t3\r\nb.mp4\r\n",
        "my clip.mp4,0,2.5\nmy clip.mp4, 2.5 ,5\n# b\nb.mp4,3\nb.mp4\n",
        '"my clip.mp4",0,2.5\n"my clip.mp4",2.5,5\nb.mp4,3,\nb.mp4,,\n',
    ],
)
def test_a_list_without_a_header(touch: Touch, write: Write, text: str, suffix: str) -> None:
    root = touch("my clip.mp4", "b.mp4")
    videos = load_unlabelled(write(f"list{suffix}", text))
    assert pieces(videos) == [
        ("my clip.mp4", 0.0, 2.5),
        ("my clip.mp4", 2.5, 5.0),
        ("b.mp4", 3.0, None),
        ("b.mp4", None, None),
    ]
    assert [sample.group for sample in videos.samples] == ["my clip.mp4", "my clip.mp4", "b.mp4", "b.mp4"]
    assert len({sample.name for sample in videos.samples}) == 4
    assert videos.samples[0].path == root / "my clip.mp4"
    assert videos.warnings == ()


def test_a_name_without_a_known_suffix_is_the_first_word(touch: Touch, write: Write) -> None:
    touch("stream7", "b.flv")
    assert pieces(load_unlabelled(write("list.txt", "stream7 1 2\nb.flv 3\n"))) == [
        ("stream7", 1, 2),
        ("b.flv", 3, None),
    ]


def test_clips_of_one_source_are_one_group(touch: Touch) -> None:
    root = touch("v_Bend_g01_c01.avi", "v_Bend_g01_c02.avi", "v_Bend_g02_c01.avi")
    assert len({sample.group for sample in load_unlabelled(root).samples}) == 2


def test_videos_that_are_not_there_are_named(touch: Touch, write: Write) -> None:
    root = touch("a.mp4")
    videos = load_unlabelled(write("list.txt", "a.mp4\ngone.mp4 0 1\na.avi\n"))  # another suffix is another file here
    assert pieces(videos) == [("a.mp4", None, None)]
    assert videos.missing == (root / "gone.mp4", root / "a.avi")
    assert videos.warnings == (f"2 of 3 listed videos are not there, the first {root / 'gone.mp4'}",)


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("list.txt", "a.mp4 0 1\na.mp4 one 2\n", r"list\.txt:2: start 'one' is not a number of seconds"),
        ("list.txt", "a.mp4 -1\n", r"list\.txt:1: start '-1' is not a number of seconds"),
        ("list.txt", "a.mp4 0 nan\n", r"list\.txt:1: end 'nan' is not a number of seconds"),
        ("list.txt", "# x\na.mp4 3 3\n", r"list\.txt:2: end 3 is not after start 3"),
        ("list.csv", "a.mp4,3,1\n", r"list\.csv:1: end 1 is not after start 3"),
        ("list.txt", "a.mp4 0 1\n./a.mp4 0 1\n", r"list\.txt:2: a\.mp4#0-1 was listed before \(.*list\.txt:1\)"),
        ("list.csv", "path\na.mp4\na.mp4\n", r"list\.csv:3: a\.mp4 was listed before"),
        ("list.csv", ",0,1\n", r"list\.csv:1: no path"),
        ("list.csv", "a.mp4,0,1,2\n", r"list\.csv:1: 4 cells where `file start end` is expected"),
        ("list.csv", "a.mp4,0,1,x,y\n", r"list\.csv:1: 5 cells .* `path`"),
        ("list.csv", "file,start,end\na.mp4,0,1\n", r"list\.csv: no column 'path' among file, start, end; call"),
        ("list.txt", "# nothing\n", r"list\.txt: only comments"),
        ("list.txt", "", r"list\.txt: empty"),
        ("list.txt", "gone.mp4\n", r"list\.txt: none of the 1 videos .* is there"),
    ],
)
def test_malformed_lists_are_refused_by_file_and_line(
    touch: Touch, write: Write, name: str, text: str, message: str
) -> None:
    touch("a.mp4")
    with pytest.raises(DataError, match=message) as caught:
        load_unlabelled(write(name, text))
    assert "\n" not in str(caught.value)


def test_nothing_there(touch: Touch, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no such file or folder"):
        load_unlabelled(tmp_path / "nowhere")
    with pytest.raises(DataError, match="no videos in this folder or any below it"):
        load_unlabelled(touch("a/notes.txt", ".hidden.mp4"))


def test_a_folder_that_cannot_be_read_is_named(touch: Touch, monkeypatch: pytest.MonkeyPatch) -> None:
    root = touch("a/1.mp4")

    def walk(place: Path, *, onerror: Callable[[OSError], None], **_: object) -> list[object]:
        onerror(PermissionError(13, "Permission denied", str(place / "a")))
        return []

    monkeypatch.setattr("t3d.data.unlabelled.os.walk", walk)
    with pytest.raises(DataError, match=r"root/a: cannot be read \(Permission denied\)"):
        load_unlabelled(root)


def test_the_real_videos_are_all_found(shared_data: Path) -> None:
    suffixes = {".mp4", ".avi", ".mkv", ".webm", ".mov", ".gif", ".m4v", ".mpg", ".mpeg", ".wmv"}
    expected = [path for path in (shared_data / "weizmann4").rglob("*") if path.suffix.lower() in suffixes]
    videos = load_unlabelled(shared_data / "weizmann4")
    assert {sample.path for sample in videos.samples} == set(expected)
    assert len(videos.samples) == len(expected) > 0
