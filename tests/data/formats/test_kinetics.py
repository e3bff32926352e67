from collections.abc import Callable
from pathlib import Path

import pytest

from t3d.data.formats import load_videos, recognise
from t3d.data.formats.kinetics import read_kinetics_list
from t3d.data.samples import NoSuchSubsetError
from t3d.errors import DataError

Write = Callable[..., Path]
Touch = Callable[..., Path]
HEADER = "label,youtube_id,time_start,time_end,split\n"
TRAIN = (
    HEADER
    + '"air drumming",aaaaaaaaaaa,0,10,train\nabseiling,bbbbbbbbbbb,5,15,train\nabseiling,ccccccccccc,7,17,train\n'
)
VALIDATION = HEADER + "air drumming,ddddddddddd,104,114,val\nabseiling,--eeeeeeeee,36,46,val\n"


@pytest.fixture
def root(write: Write) -> Path:
    write("kinetics-400_val.csv", VALIDATION)
    return write("train.csv", TRAIN).parent


def test_the_published_validation_list(shared_data: Path) -> None:
    labels, samples = read_kinetics_list(shared_data / "splits" / "kinetics" / "kinetics-400_val_first400.csv")
    official = (shared_data / "splits" / "kinetics" / "label_map_400.txt").read_text().split("\n")
    assert len(samples) == 400
    assert set(labels) <= set(official)
    first = samples[0]
    assert (first.name, first.group) == ("abseiling/0wR5jVB-WPk_000417_000427.mp4", "0wR5jVB-WPk")
    assert len({sample.group for sample in samples}) == 400


@pytest.mark.parametrize(
    "place",
    ["train/{label}/", "train/", "{label}/", "", "training/{label}/"],
)
@pytest.mark.parametrize("spelling", ["air drumming", "air_drumming"])
def test_conventional_places(root: Path, touch: Touch, place: str, spelling: str) -> None:
    touch(place.format(label=spelling) + "aaaaaaaaaaa_000000_000010.mkv", place.format(label="abseiling") + "x.txt")
    videos = load_videos(root, subset="train", format="kinetics")
    assert [(sample.name, sample.label, sample.group) for sample in videos.samples] == [
        ("air drumming/aaaaaaaaaaa_000000_000010.mp4", 1, "aaaaaaaaaaa")
    ]
    assert videos.samples[0].path.is_file()
    assert videos.labels == ("abseiling", "air drumming")
    assert [path.name for path in videos.missing] == ["bbbbbbbbbbb_000005_000015.mp4", "ccccccccccc_000007_000017.mp4"]
    assert videos.warnings[0].startswith("2 of 3 listed videos are not there")


def test_validation_serves_as_test_without_a_test_list(root: Path, touch: Touch) -> None:
    touch("val/abseiling/--eeeeeeeee_000036_000046.mp4", "val/air_drumming/ddddddddddd_000104_000114.mp4")
    assert recognise(root) == "kinetics"
    videos = load_videos(root, subset="test")
    assert [sample.label for sample in videos.samples] == [1, 0]
    assert videos.split == "test (kinetics-400_val.csv)"
    assert "serve as the test" in videos.warnings[0]
    with pytest.raises(NoSuchSubsetError, match="serve as the test"):
        load_videos(root, subset="validation")


@pytest.mark.parametrize("test_list", ["youtube_id,time_start,time_end,split\n", HEADER])
def test_withheld_labels_are_explained_and_validation_stays_itself(
    root: Path, touch: Touch, write: Write, test_list: str
) -> None:
    write("test.csv", test_list + ("," if "label" in test_list else "") + "fffffffffff,1,11,test\n")
    touch("val/abseiling/--eeeeeeeee_000036_000046.mp4")
    with pytest.raises(DataError, match=r"test\.csv: the labels of this list are withheld; .*--subset validation"):
        load_videos(root, subset="test")
    assert len(load_videos(root, subset="validation").samples) == 1


def test_classes_come_from_the_training_list(root: Path, write: Write) -> None:
    path = write("val_new.csv", HEADER + "yoga,ggggggggggg,0,10,val\n")
    with pytest.raises(DataError, match="class 'yoga' has no training video"):
        read_kinetics_list(path, train_list=root / "train.csv")
    with pytest.raises(DataError, match=r"kinetics-400_val\.csv and val_new\.csv both list validation videos"):
        load_videos(root, subset="validation")


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ("yoga,ggggggggggg,start,10,val\n", r"train\.csv:2: time_start and time_end must be numbers"),
        ("yoga,ggggggggggg,0\n", r"train\.csv:2: time_start and time_end"),
        (",ggggggggggg,0,10,val\nyoga,hhhhhhhhhhh,0,10\n", r"train\.csv:2: no label"),
        ("yoga,ggggggggggg,0,10\nyoga,ggggggggggg,0,10\n", "lists ggggggggggg_000000_000010 more than once"),
    ],
)
def test_malformed_rows_are_named(write: Write, row: str, message: str) -> None:
    with pytest.raises(DataError, match=message):
        read_kinetics_list(write("train.csv", HEADER + row))


def test_all_videos_missing_is_an_error(root: Path) -> None:
    with pytest.raises(DataError, match="none of the 3 videos of train"):
        load_videos(root, subset="train")
    with pytest.raises(DataError, match="no split 2; Kinetics has one"):
        load_videos(root, subset="train", split=2)


def test_folders_without_lists(touch: Touch) -> None:
    root = touch(
        "train/abseiling/bbbbbbbbbbb_000005_000015.mp4",
        "train/yoga/aaaaaaaaaaa_000000_000010.mp4",
        "validate/yoga/ddddddddddd_000104_000114.mp4",
    )
    assert recognise(root) == "kinetics"
    videos = load_videos(root, subset="test")
    assert (videos.format, videos.labels) == ("kinetics", ("abseiling", "yoga"))
    assert [(sample.label, sample.group) for sample in videos.samples] == [(1, "ddddddddddd")]
