from collections.abc import Callable
from pathlib import Path

import pytest

from t3d.data.formats import load_videos, recognise
from t3d.data.formats.hmdb51 import read_hmdb51_list
from t3d.data.samples import NoSuchSubsetError, group_of_name
from t3d.errors import DataError

Write = Callable[..., Path]
FOLDER = "testTrainMulti_7030_splits"
WAVE = (
    "Movie_wave_f_cm_np1_fr_med_0.avi 2 \r\n"
    "Other_wave_f_cm_np1_fr_med_3.avi 1 \r\n"
    "Third_wave_f_cm_np1_fr_med_1.avi 0 \r\n"
)
RUN = "Movie_run_f_cm_np1_fr_med_0.avi 1 \r\nOther_run_f_cm_np1_fr_med_3.avi 2 \r\n"


@pytest.fixture
def lists(write: Write) -> Path:
    write(f"{FOLDER}/wave_test_split1.txt", WAVE)
    return write(f"{FOLDER}/run_test_split1.txt", RUN).parent


@pytest.mark.parametrize("split", [1, 2, 3])
def test_the_published_lists(shared_data: Path, split: int) -> None:
    folder = shared_data / "splits" / FOLDER
    labels, train = read_hmdb51_list(folder, "train", split=split)
    _, test = read_hmdb51_list(folder, "test", split=split)
    assert (len(labels), len(train), len(test)) == (51, 3570, 1530)
    groups = [{group_of_name(sample.path.stem) for sample in part} for part in (train, test)]
    assert None not in groups[0] | groups[1]
    assert not groups[0] & groups[1]


def test_a_truncated_published_list_is_refused(shared_data: Path, tmp_path: Path) -> None:
    for path in (shared_data / "splits" / FOLDER).glob("*_split2.txt"):
        (tmp_path / path.name).write_bytes(path.read_bytes())
    shortened = tmp_path / "clap_test_split2.txt"
    shortened.write_text("\n".join(line for line in shortened.read_text().splitlines() if not line.endswith(" 2 ")))
    with pytest.raises(DataError, match="1500 test videos in split 2 where HMDB51 publishes 1530"):
        read_hmdb51_list(tmp_path, "test", split=2)


@pytest.mark.parametrize("parent", ["", "hmdb51_org/", "videos/"])
def test_videos_are_found_and_unused_ones_left_out(lists: Path, touch: Callable[..., Path], parent: str) -> None:
    root = touch(f"{parent}wave/Movie_wave_f_cm_np1_fr_med_0.mp4", f"{parent}run/Other_run_f_cm_np1_fr_med_3.avi")
    assert recognise(root) == "hmdb51"
    videos = load_videos(root, subset="test")
    assert videos.labels == ("run", "wave")
    assert [(sample.name, sample.label, sample.group) for sample in videos.samples] == [
        ("run/Other_run_f_cm_np1_fr_med_3.avi", 0, "Other_run"),
        ("wave/Movie_wave_f_cm_np1_fr_med_0.avi", 1, "Movie_wave"),
    ]
    assert videos.warnings == ()


def test_lists_beside_the_videos(lists: Path, touch: Callable[..., Path]) -> None:
    root = touch("org/run/Movie_run_f_cm_np1_fr_med_0.avi", "org/wave/Other_wave_f_cm_np1_fr_med_3.avi") / "org"
    assert recognise(root) == "hmdb51"
    assert [sample.label for sample in load_videos(root, subset="train").samples] == [0, 1]


def test_validation_and_unknown_splits(lists: Path) -> None:
    with pytest.raises(NoSuchSubsetError, match="carve"):
        read_hmdb51_list(lists, "validation", split=1)
    with pytest.raises(DataError, match=r"no split 2; there are: 1$"):
        read_hmdb51_list(lists, "test", split=2)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a.avi 3\n", r"run_test_split1\.txt:1: expected `video\.avi` and 0, 1 or 2, found 'a\.avi 3'"),
        ("a.avi\n", r"run_test_split1\.txt:1: expected"),
        ("a.avi 1\na.avi 2\n", r"run_test_split1\.txt:2: lists a\.avi more than once"),
    ],
)
def test_malformed_lists_name_the_line(lists: Path, write: Write, text: str, message: str) -> None:
    write(f"{FOLDER}/run_test_split1.txt", text)
    with pytest.raises(DataError, match=message):
        read_hmdb51_list(lists, "test", split=1)


def test_a_class_without_its_list_is_named(lists: Path, write: Write) -> None:
    write(f"{FOLDER}/climb_test_split2.txt", "a.avi 1\n")
    with pytest.raises(DataError, match=r"climb_test_split1\.txt: no such file"):
        read_hmdb51_list(lists, "test", split=1)


def test_no_lists_at_all(touch: Callable[..., Path]) -> None:
    with pytest.raises(DataError, match=f"no folder {FOLDER} in it or beside it"):
        load_videos(touch("run/a.avi"), subset="test", format="hmdb51")
