from collections.abc import Callable
from pathlib import Path

import pytest

from t3d.data.formats import load_videos, recognise
from t3d.data.formats.ucf101 import read_ucf101_list
from t3d.data.samples import NoSuchSubsetError, Subset, group_of_name
from t3d.errors import DataError

Write = Callable[..., Path]
CLASSES = "1 Bend\r\n2 Run\r\n"
TRAIN = "Bend/v_Bend_g02_c01.avi 1\r\nRun/v_Run_g02_c01.avi 2\r\n"
TEST = "Bend/v_Bend_g01_c01.avi\r\nRun/v_Run_g01_c01.avi\r\n"


@pytest.fixture
def lists(write: Write) -> Path:
    write("ucfTrainTestlist/classInd.txt", CLASSES)
    write("ucfTrainTestlist/trainlist01.txt", TRAIN)
    return write("ucfTrainTestlist/testlist01.txt", TEST).parent


@pytest.mark.parametrize(("split", "train", "test"), [(1, 9537, 3783), (2, 9586, 3734), (3, 9624, 3696)])
def test_the_published_lists(shared_data: Path, split: int, train: int, test: int) -> None:
    folder = shared_data / "splits" / "ucfTrainTestlist"
    labels, trained = read_ucf101_list(folder, "train", split=split)
    same_labels, tested = read_ucf101_list(folder, "test", split=split)
    assert (len(labels), len(trained), len(tested)) == (101, train, test)
    assert same_labels == labels
    assert labels[37] == "HandstandWalking"
    groups = [{group_of_name(sample.path.stem) for sample in part} for part in (trained, tested)]
    assert None not in groups[0] | groups[1]
    assert not groups[0] & groups[1]
    assert len(groups[0] | groups[1]) == 101 * 25


def test_a_truncated_published_list_is_refused(shared_data: Path, tmp_path: Path) -> None:
    source = shared_data / "splits" / "ucfTrainTestlist"
    (tmp_path / "classInd.txt").write_bytes((source / "classInd.txt").read_bytes())
    (tmp_path / "testlist01.txt").write_bytes((source / "testlist01.txt").read_bytes()[:100_000])
    lines = (tmp_path / "testlist01.txt").read_text().splitlines()
    (tmp_path / "testlist01.txt").write_text("\n".join(lines[:-1]))
    message = f"{len(lines) - 1} videos where UCF101 publishes 3783"
    with pytest.raises(DataError, match=message):
        read_ucf101_list(tmp_path, "test", split=1)


@pytest.mark.parametrize(
    ("split", "actors"), [(1, {"07", "08", "09"}), (2, {"01", "02", "03"}), (3, {"04", "05", "06"})]
)
def test_real_videos_in_the_same_layout(shared_data: Path, split: int, actors: set[str]) -> None:
    assert recognise(shared_data / "weizmann4") == "ucf101"
    test = load_videos(shared_data / "weizmann4", subset="test", split=split)
    train = load_videos(shared_data / "weizmann4", subset="train", split=split)
    assert (len(train.samples), len(test.samples), test.missing, test.warnings) == (48, 24, (), ())
    assert test.labels == ("Bend", "JumpingJack", "WaveOneHand", "WaveTwoHands")
    assert {sample.group[-2:] for sample in test.samples} == actors
    assert all(sample.path.is_file() for sample in (*train.samples, *test.samples))
    assert all(sample.name.startswith(test.labels[sample.label] + "/") for sample in test.samples)


@pytest.mark.parametrize("parent", ["", "UCF-101/"])
@pytest.mark.parametrize("suffix", ["avi", "mp4"])
def test_videos_below_the_root_or_ucf_101_in_any_container(
    lists: Path, touch: Callable[..., Path], parent: str, suffix: str
) -> None:
    root = touch(f"{parent}Bend/v_Bend_g01_c01.{suffix}", f"{parent}Run/v_Run_g01_c01.{suffix}")
    videos = load_videos(root, subset="test")
    assert [sample.name for sample in videos.samples] == ["Bend/v_Bend_g01_c01.avi", "Run/v_Run_g01_c01.avi"]
    assert [sample.label for sample in videos.samples] == [0, 1]
    assert all(sample.path.is_file() for sample in videos.samples)
    assert videos.split == "split 1 test (ucfTrainTestlist)"


def test_lists_beside_the_videos(lists: Path, touch: Callable[..., Path]) -> None:
    root = touch("UCF-101/Bend/v_Bend_g01_c01.avi", "UCF-101/Run/v_Run_g01_c01.avi") / "UCF-101"
    assert recognise(root) == "ucf101"
    assert len(load_videos(root, subset="test").samples) == 2


def test_a_stranger_beside_the_lists_is_not_taken_for_ucf101(lists: Path, touch: Callable[..., Path]) -> None:
    root = touch("other/Cats/a.mp4", "other/Dogs/b.mp4") / "other"
    assert recognise(root) == "folder"


def test_missing_videos_are_reported_and_none_at_all_is_an_error(lists: Path, touch: Callable[..., Path]) -> None:
    with pytest.raises(DataError, match=r"none of the 2 videos of split 1 test .*/v_Bend_g01_c01\.avi; unpack"):
        load_videos(lists.parent, subset="test")
    root = touch("Run/v_Run_g01_c01.avi")
    videos = load_videos(root, subset="test")
    assert videos.missing == (root / "Bend/v_Bend_g01_c01.avi",)
    assert videos.warnings == (f"1 of 2 listed videos are not there, the first {videos.missing[0]}",)


def test_validation_and_unknown_splits(lists: Path) -> None:
    with pytest.raises(NoSuchSubsetError, match="carve"):
        read_ucf101_list(lists, "validation", split=1)
    with pytest.raises(DataError, match=r"no split 4; there are: 1$"):
        read_ucf101_list(lists, "test", split=4)


@pytest.mark.parametrize(
    ("name", "text", "subset", "message"),
    [
        ("classInd.txt", "1 Bend\n3 Run\n", "test", r"classInd\.txt:2: expected `2 NewClassName`, found '3 Run'"),
        ("classInd.txt", "1 Bend\n2 Bend\n", "test", r"classInd\.txt:2"),
        ("testlist01.txt", "Jump/v_Jump_g01_c01.avi\n", "test", r"testlist01\.txt:1: class 'Jump' is not in classInd"),
        ("testlist01.txt", "v_Jump_g01_c01.avi\n", "test", r"testlist01\.txt:1: expected `Class/video\.avi`"),
        ("testlist01.txt", TEST + TEST, "test", "lists Bend/v_Bend_g01_c01.avi more than once"),
        ("trainlist01.txt", "Run/v_Run_g02_c01.avi 1\n", "train", r"trainlist01\.txt:1: Run is class 2 .* not 1"),
    ],
)
def test_malformed_lists_name_the_line(
    lists: Path, write: Write, name: str, text: str, subset: Subset, message: str
) -> None:
    write(f"ucfTrainTestlist/{name}", text)
    with pytest.raises(DataError, match=message):
        read_ucf101_list(lists, subset, split=1)


def test_no_lists_at_all(touch: Callable[..., Path]) -> None:
    with pytest.raises(DataError, match="no folder ucfTrainTestlist in it or beside it"):
        load_videos(touch("Bend/a.avi"), subset="test", format="ucf101")
