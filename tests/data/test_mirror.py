from collections.abc import Callable
from pathlib import Path

import pytest

from t3d.data.formats import load_videos
from t3d.data.mirror import Mirror, mirror_dataset
from t3d.data.samples import VideoList
from t3d.errors import DataError
from t3d.files import write_csv

Write = Callable[..., Path]


def _realise(mirror: Mirror, folder: Path) -> Path:
    """The copy, its videos empty files."""
    for piece in mirror.pieces:
        (folder / piece.target).parent.mkdir(parents=True, exist_ok=True)
        (folder / piece.target).touch()
    for place, path in mirror.lists.items():
        (folder / place).parent.mkdir(parents=True, exist_ok=True)
        (folder / place).write_bytes(path.read_bytes())
    if mirror.rows:
        write_csv(folder / "videos.csv", mirror.table(uncut=()))
    return folder


def _facts(videos: VideoList) -> tuple[object, ...]:
    samples = [(sample.name, sample.label, sample.group, sample.tag) for sample in videos.samples]
    missing = [path.relative_to(videos.root).as_posix() for path in videos.missing]
    return samples, videos.labels, videos.format, videos.split, missing, len(videos.warnings)


@pytest.fixture
def layouts(tmp_path: Path, touch: Write, write: Write) -> dict[str, Path]:
    """A dataset in each format, of several splits, with a video missing."""
    for index in range(4):
        touch(
            f"ucf/A/v_A_g0{index}_c01.avi",
            f"ucf/B/v_B_g0{index}_c01.avi",
            f"folder/a/{index}.mov",
            f"folder/b/{index}.gif",
        )
        touch(f"hmdb/videos/a/x{index}.avi", f"hmdb/videos/b/y{index}.avi")
        touch(
            f"kinetics/train/a b/{'x' * 10}{index}_000001_000011.webm",
            f"kinetics/val/a b/{'y' * 10}{index}_000001_000011.mp4",
        )
    write("ucf/ucfTrainTestlist/classInd.txt", "1 A\n2 B\n")
    for split, test in (("01", "0"), ("02", "1")):
        other = [f"{label}/v_{label}_g0{index}_c01.avi" for label in "AB" for index in "01234" if index != test]
        write(
            f"ucf/ucfTrainTestlist/trainlist{split}.txt", "".join(f"{name} {1 + (name[0] == 'B')}\n" for name in other)
        )
        write(f"ucf/ucfTrainTestlist/testlist{split}.txt", f"A/v_A_g0{test}_c01.avi\nB/v_B_g0{test}_c01.avi\n")
        for label, stem in (("a", "x"), ("b", "y")):
            marks = "".join(f"{stem}{index}.avi {2 if str(index) == test else 1}\n" for index in range(5))
            write(f"hmdb/testTrainMulti_7030_splits/{label}_test_split{int(split)}.txt", marks)
    for part, letter in (("train", "x"), ("val", "y")):
        rows = "".join(f"a b,{letter * 10}{index},1,11,{part}\n" for index in range(5))
        write(f"kinetics/annotations/{part}.csv", f"label,youtube_id,time_start,time_end,split\n{rows}")
    clips = "".join(f"clips/{index}.avi,{'ab'[index % 2]},{index},{index + 1},tag\n" for index in range(4))
    write("csv/list.csv", f"path,label,start,end,tag\n{clips}clips/gone.avi,a,,,tag\n")
    for index in range(4):
        touch(f"csv/clips/{index}.avi")
    root = tmp_path / "root"
    return {name: root / name for name in ("ucf", "hmdb", "folder", "kinetics")} | {"csv": root / "csv" / "list.csv"}


@pytest.mark.parametrize("name", ["ucf", "hmdb", "folder", "kinetics", "csv"])
def test_the_copy_is_read_as_the_dataset_is(name: str, layouts: dict[str, Path], tmp_path: Path) -> None:
    root = layouts[name]
    copy = _realise(mirror_dataset(root), tmp_path / "copy")
    for split in (1, 2) if name in ("ucf", "hmdb", "folder") else (1,):
        for subset in ("train", "test"):
            old, new = (load_videos(place, subset=subset, split=split) for place in (root, copy))
            assert _facts(new) == _facts(old)
            assert all(sample.path.is_relative_to(copy) for sample in new.samples)


@pytest.mark.parametrize("subset", ["train", "test"])
def test_lists_beside_the_videos_come_to_lie_in_the_copy(subset: str, tmp_path: Path, shared_data: Path) -> None:
    beside = tmp_path / "data"
    beside.mkdir()
    (beside / "videos").symlink_to(shared_data / "weizmann4")
    (beside / "ucfTrainTestlist").symlink_to(shared_data / "weizmann4" / "ucfTrainTestlist")
    copy = _realise(mirror_dataset(beside / "videos"), tmp_path / "copy")
    old, new = (load_videos(place, subset=subset, split=3) for place in (beside / "videos", copy))
    assert _facts(new) == _facts(old)


def test_parts_become_files_whose_groups_stay(tmp_path: Path, touch: Write, write: Write) -> None:
    touch("a.avi", "v_X_g01_c01.avi", "own.avi")
    path = write(
        "list.csv", "path,label,start,end,group\na.avi,1,0.5,2,\na.avi,1,2,,\nv_X_g01_c01.avi,2,,1,\nown.avi,2,,,mine\n"
    )
    mirror = mirror_dataset(path, trim=True)
    assert [(piece.target, piece.source.start_seconds, piece.source.end_seconds) for piece in mirror.pieces] == [
        ("a_0.5-2.avi", 0.5, 2.0),
        ("a_2-.avi", 2.0, None),
        ("v_X_g01_c01_-1.avi", None, 1.0),
        ("own.avi", None, None),
    ]
    assert [(row["group"], row["start"], row["end"]) for row in mirror.table(uncut={"a_2-.avi"})] == [
        ("a.avi", "", ""),
        ("a.avi", "2", ""),  # the file is the whole one
        ("v_X_g01", "", ""),
        ("mine", "", ""),
    ]


def test_untrimmed_a_file_is_copied_once_and_its_rows_keep_their_seconds(touch: Write, write: Write) -> None:
    touch("a.avi")
    mirror = mirror_dataset(write("list.csv", "path,label,start,end\na.avi,1,0,1\na.avi,1,1,2\n"))
    assert [piece.target for piece in mirror.pieces] == ["a.avi"]
    assert mirror.pieces[0].source.end_seconds is None
    assert [row["end"] for row in mirror.table(uncut=())] == ["1", "2"]


def test_videos_elsewhere_come_into_the_copy(tmp_path: Path, touch: Write, write: Write) -> None:
    elsewhere = touch("far/b.avi", root="other")
    touch("a.avi")
    path = write("lists/list.csv", f"path,label\n../a.avi,1\n{elsewhere}/far/b.avi,2\n")
    mirror = mirror_dataset(path)
    second = f"{elsewhere.relative_to('/').as_posix()}/far/b.avi"
    assert [piece.target for piece in mirror.pieces] == ["a.avi", second]
    assert [row["group"] for row in mirror.rows] == ["../a.avi", f"{elsewhere}/far/b.avi"]


def test_two_files_are_never_one_copy(touch: Write, write: Write) -> None:
    touch("a.avi", "lists/a.avi")
    path = write("lists/list.csv", "path,label\na.avi,1\n../a.avi,2\n")
    with pytest.raises(DataError, match=r"list\.csv:3: .* would both become a\.avi"):
        mirror_dataset(path)


def test_a_folder_without_labels_and_a_table_without_labels(touch: Write, write: Write) -> None:
    root = touch("deep/below/a.mp4", "b.avi", ".hidden.mp4", "notes.txt")
    assert [piece.target for piece in mirror_dataset(root).pieces] == ["b.avi", "deep/below/a.mp4"]
    assert mirror_dataset(write("list.csv", "path\nb.avi\n")).rows == ({"path": "b.avi", "group": ""},)


def test_what_cannot_be_copied_is_named(tmp_path: Path, touch: Write, write: Write) -> None:
    root = touch("a/b.mp4")
    with pytest.raises(DataError, match="--trim is of a CSV"):
        mirror_dataset(root, trim=True)
    with pytest.raises(DataError, match="no such folder, CSV"):
        mirror_dataset(tmp_path / "nothing")
    with pytest.raises(DataError, match=r"none of its videos is there, the first would be .*c\.mp4"):
        mirror_dataset(write("list.csv", "path,label\nc.mp4,1\n"))
