import re
from pathlib import Path

import pytest

from t3d.data.labels import number_labels, read_label_file, sorted_labels
from t3d.errors import DataError


def test_whole_numbers_keep_their_order() -> None:
    assert sorted_labels(["10", "9", "-1", "9"]) == ("-1", "9", "10")


def test_one_name_makes_all_of_them_names() -> None:
    assert sorted_labels(["10", "9", "walk"]) == ("10", "9", "walk")


def test_positions_among_the_known() -> None:
    assert number_labels(["b", "a", "b"], ("a", "b", "c"), where="list") == [1, 0, 1]


def test_a_class_without_training_videos_is_refused() -> None:
    with pytest.raises(DataError, match="list: class 'd' has no training video"):
        number_labels(["a", "e", "d"], ("a", "b"), where="list")


NAMES = ("run", "clap, twice", "wave")


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("labels.txt", "run\nclap, twice\n\n wave \n"),
        ("labels.csv", 'id,name\n0,run\n1,"clap, twice"\n2,wave\n'),
        ("labels.csv", 'name,id\nwave,3\nrun,1\n"clap, twice",2\n'),
        ("labels.csv", '2,wave\n1,"clap, twice"\n0,run\n'),
        ("labels.json", '["run", "clap, twice", "wave"]'),
        ("labels.json", '{"wave": 2, "run": 0, "clap, twice": 1}'),
        ("labels.json", '{"1": "run", "3": "wave", "2": "clap, twice"}'),
    ],
)
def test_names_come_in_the_order_of_the_outputs(name: str, text: str, tmp_path: Path) -> None:
    (tmp_path / name).write_text(text)
    assert read_label_file(tmp_path / name) == NAMES


def test_a_mark_of_the_byte_order_is_no_part_of_the_first_name(tmp_path: Path) -> None:
    (tmp_path / "labels.txt").write_text("run\nwave\n", encoding="utf-8-sig")
    assert read_label_file(tmp_path / "labels.txt") == ("run", "wave")


@pytest.mark.parametrize(
    ("name", "content", "reason"),
    [
        ("labels.txt", b"run\nwave\nrun\n", "names the class 'run' twice; make the names distinct"),
        ("labels.txt", b"\xff\xfe\x00", "no list of class names ("),
        ("labels.csv", b"0,run\n2,wave\n", "no list of class names (the numbers do not count on from 0 or 1"),
        ("labels.csv", b"2,run\n3,wave\n", "no list of class names (the numbers do not count on from 0 or 1"),
        ("labels.csv", b"run,clap\nwave,jump\n", "no list of class names (neither of two columns holds whole numbers"),
        ("labels.csv", b'0,"' + b"x" * 200000, "no list of class names (field larger than field limit"),
        ("labels.csv", b"", "no list of class names (neither of two columns holds whole numbers"),
        ("labels.json", b"{", "no list of class names (Expecting"),
        ("labels.json", b"3", "no list of class names (JSON, but neither a list of names nor"),
        ("labels.json", b'{"0": ["n01", "tench"]}', "no list of class names (JSON, but neither a list of names nor"),
        ("labels.json", b'["run", 3]', "no list of class names (JSON, but neither a list of names nor"),
    ],
)
def test_other_files_are_refused(name: str, content: bytes, reason: str, tmp_path: Path) -> None:
    path = tmp_path / name
    path.write_bytes(content)
    with pytest.raises(DataError, match=f"^{re.escape(f'{path}: {reason}')}[^\n]*$"):
        read_label_file(path)


def test_missing_files_are_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"none\.txt: no list of class names \(No such file or directory\)$"):
        read_label_file(tmp_path / "none.txt")
    with pytest.raises(DataError, match=r"no list of class names \(Is a directory\)$"):
        read_label_file(tmp_path)
