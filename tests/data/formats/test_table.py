import re
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pyarrow
import pyarrow.parquet
import pytest

from t3d.data.formats import load_videos, recognise
from t3d.data.samples import NoSuchSubsetError
from t3d.data.splits import check_disjoint
from t3d.errors import DataError

Write = Callable[..., Path]
Touch = Callable[..., Path]


def test_every_column(touch: Touch, write: Write) -> None:
    root = touch("clips/a.mp4", "clips/b.mp4")
    path = write(
        "list.csv",
        "path,label,start,end,split,group,tag\r\n"
        "clips/a.mp4,walk,0,2.5,train,anna,day\r\n"
        "clips/a.mp4,run,2.5,,train,anna,\r\n"
        "./clips/b.mp4,run,,,val,ben,night\r\n"
        "clips/b.mp4,walk,,4,test,ben,\r\n",
    )
    train, validation, test = (load_videos(path, subset=subset) for subset in ("train", "validation", "test"))
    assert recognise(path) == train.format == "csv"
    assert [(s.name, s.label, s.group, s.start_seconds, s.end_seconds, s.tag) for s in train.samples] == [
        ("clips/a.mp4#0-2.5", 1, "anna", 0.0, 2.5, "day"),
        ("clips/a.mp4#2.5-", 0, "anna", 2.5, None, ""),
    ]
    assert [(s.name, s.path, s.tag) for s in validation.samples] == [("clips/b.mp4", root / "clips/b.mp4", "night")]
    assert [(s.name, s.start_seconds, s.end_seconds) for s in test.samples] == [("clips/b.mp4#-4", None, 4.0)]
    assert train.labels == validation.labels == test.labels == ("run", "walk")
    assert train.warnings == ()


def test_validation_rows_serve_as_test(touch: Touch, write: Write) -> None:
    touch("a.mp4", "b.mp4")
    path = write("list.csv", "path,label,split,group\na.mp4,x,train,1\nb.mp4,x,validate,2\n")
    videos = load_videos(path, subset="test")
    assert [sample.name for sample in videos.samples] == ["b.mp4"]
    assert "serve as the test" in videos.warnings[0]
    with pytest.raises(NoSuchSubsetError):
        load_videos(path, subset="validation")
    with pytest.raises(DataError, match="no split 2; its column `split`"):
        load_videos(path, subset="test", split=2)


def test_without_split_the_groups_make_folds(touch: Touch, write: Write) -> None:
    touch(*[f"{person}{take}.mp4" for person in "abc" for take in range(4)])
    rows = [f"{person}{take}.mp4,{take % 2},{person}" for person in "abc" for take in range(4)]
    path = write("list.csv", "\n".join(["path,label,group", *rows]))
    for split in (1, 2, 3):
        test = load_videos(path, subset="test", split=split)
        assert len({sample.group for sample in test.samples}) == 1
        assert Counter(sample.label for sample in test.samples) == {0: 2, 1: 2}
        check_disjoint(load_videos(path, subset="train", split=split), test)


def test_without_group_each_file_is_its_own_but_pieces_stay_together(touch: Touch, write: Write) -> None:
    touch("a.mp4", "b.mp4")
    path = write("list.csv", "path,label,start,end\na.mp4,x,0,1\na.mp4,y,1,2\nb.mp4,x,0,1\nb.mp4,y,1,2\n")
    test = load_videos(path, subset="test")
    assert len(test.samples) == 2
    assert len({sample.path for sample in test.samples}) == 1
    assert "name no group" in test.warnings[0]


def test_one_file_in_train_and_test_is_a_leak(touch: Touch, write: Write) -> None:
    touch("a.mp4", "b.mp4")
    path = write("list.csv", "path,label,start,end,split\na.mp4,x,0,1,train\n./a.mp4,x,1,2,test\n")
    with pytest.raises(DataError, match=r"for example 'a\.mp4'"):
        check_disjoint(load_videos(path, subset="train"), load_videos(path, subset="test"))


def test_whole_number_labels_keep_their_order(touch: Touch, write: Write) -> None:
    touch("a.mp4", "b.mp4", "c.mp4")
    path = write("list.csv", "path,label,split\na.mp4,10,train\nb.mp4,9,train\nc.mp4,0,train\n")
    assert load_videos(path, subset="train").labels == ("0", "9", "10")


def test_parquet_and_a_folder_with_its_own_list(touch: Touch) -> None:
    root = touch("a.mp4", "b.mp4")
    table = pyarrow.table(
        {"path": ["a.mp4", "b.mp4"], "label": [1, 2], "split": ["train", "test"], "start": [None, 0.5]}
    )
    pyarrow.parquet.write_table(table, root / "videos.parquet")
    assert recognise(root) == "csv"
    train = load_videos(root, subset="train")
    assert [sample.path for sample in train.samples] == [root / "a.mp4"]
    with pytest.raises(DataError, match="class '2' has no training video"):
        load_videos(root, subset="test")


def test_missing_videos(touch: Touch, write: Write) -> None:
    path = write("list.csv", "path,label,split\na.mp4,x,train\nb.avi,x,train\n")
    with pytest.raises(DataError, match=r"none of the 2 videos of train \(column split\) is there, .*a\.mp4"):
        load_videos(path, subset="train")
    root = touch("a.mp4", "b.mp4")  # another suffix is another file here
    assert load_videos(path, subset="train").missing == (root / "b.avi",)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("path,label,split\na.mp4,x,train\nb.mp4,x,holdout\n", "list.csv:3: split 'holdout' is none of train"),
        ("path,label,split\na.mp4,x,\n", "list.csv:2: split '' is none of train"),
        ("path,label\n,x\n", "list.csv:2: no path; complete the row"),
        ("path,label\na.mp4,\n", "list.csv:2: no label; complete the row"),
        ("path,label\na.mp4,x\n./a.mp4,y\n", r"list.csv:3: a.mp4 was listed before \(.*list.csv:2\)"),
        ("path,label,start\na.mp4,x,one\n", "list.csv:2: start 'one' is not a number of seconds"),
        ("path,label,start\na.mp4,x,-1\n", "list.csv:2: start '-1' is not a number of seconds"),
        ("path,label,end\na.mp4,x,inf\n", "list.csv:2: end 'inf' is not a number of seconds"),
        ("path,label,start,end\na.mp4,x,3,3\n", "list.csv:2: end 3 is not after start 3"),
        ("path,label,end\na.mp4,x,0\n", "list.csv:2: end 0 is not after start 0"),
        ("file,label\na.mp4,x\n", "no column 'path' among file, label"),
    ],
)
def test_malformed_rows_are_named(write: Write, text: str, message: str) -> None:
    path = write("list.csv", text)
    with pytest.raises(DataError, match=message) as caught:
        load_videos(path, subset="train")
    assert "\n" not in str(caught.value)


def test_no_table(touch: Touch) -> None:
    with pytest.raises(DataError, match=r"no CSV or Parquet file, nor a folder with a videos\.csv"):
        load_videos(touch("a/1.mp4"), subset="train", format="csv")


def test_dark_videos_by_their_official_lists(shared_data: Path, write: Write) -> None:
    """What docs tell users of lists in another format to do: one CSV with absolute or relative paths."""
    source = shared_data / "arid6"
    names = dict(line.split() for line in (source / "mapping_table_23.txt").read_text().splitlines())
    rows = ["path,label,split"]
    for split in ("train", "validate"):
        for line in (source / f"{split}.txt").read_text().splitlines():
            _, label, path = line.split("\t")
            rows.append(f"{source / split / path},{names[label]},{split}")
    path = write("arid6.csv", "\n".join(rows))
    train, test = (load_videos(path, subset=subset) for subset in ("train", "test"))
    assert (len(train.samples), len(test.samples)) == (150, 96)
    assert train.labels == ("Jump", "Run", "Sit", "Stand", "Turn", "Walk")
    assert train.missing == test.missing == ()


def test_person_folds_of_real_videos(shared_data: Path, write: Write) -> None:
    rows = ["path,label,group"]
    for path in sorted((shared_data / "ud810_ps7").glob("*.avi")):
        action, person = re.fullmatch(r"PS7A(\d)P(\d)T\d", path.stem).groups()
        rows.append(f"{path},{action},person {person}")
    table = write("people.csv", "\n".join(rows))
    people = set()
    for split in (1, 2, 3):
        train, test = (load_videos(table, subset=subset, split=split) for subset in ("train", "test"))
        check_disjoint(train, test)
        assert (len(train.samples), Counter(sample.label for sample in test.samples)) == (18, {0: 3, 1: 3, 2: 3})
        people |= {sample.group for sample in test.samples}
    assert people == {"person 1", "person 2", "person 3"}
