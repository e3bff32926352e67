from collections.abc import Callable
from pathlib import Path

import pytest

from t3d.data.formats import FORMATS, load_videos, recognise
from t3d.errors import DataError

Touch = Callable[..., Path]


DATASETS = Path(__file__).parents[3] / "docs" / "datasets.md"


def test_the_docs_table_is_that_of_the_code() -> None:
    expected = [
        f"| `{name}` | {form.recognised_by} | {form.splits} | {form.groups} |" for name, form in FORMATS.items()
    ]
    lines = DATASETS.read_text(encoding="utf-8").splitlines()
    start = lines.index("| format | recognised by | split | group |") + 2
    assert lines[start : start + len(expected)] == expected


def test_what_fits_nothing_says_what_was_looked_for(touch: Touch) -> None:
    root = touch("a.mp4")
    with pytest.raises(
        DataError, match=r"root: not recognised as a dataset; known forms are: csv .*ucfTrainTestlist.*each class"
    ):
        recognise(root)
    with pytest.raises(DataError, match=r"a\.mp4: not recognised"):
        recognise(root / "a.mp4")


def test_a_wrong_path_is_named(tmp_path: Path) -> None:
    for attempt in (lambda path: recognise(path), lambda path: load_videos(path, subset="test", format="folder")):
        with pytest.raises(DataError, match="absent: no such file or folder"):
            attempt(tmp_path / "absent")


def test_an_unknown_format_lists_the_known(touch: Touch) -> None:
    with pytest.raises(DataError, match="unknown format 'ucf'; choose from csv, ucf101, hmdb51, kinetics, folder"):
        load_videos(touch("A/a.mp4"), subset="test", format="ucf")


def test_the_format_can_be_forced(touch: Touch, write: Callable[..., Path]) -> None:
    root = touch("A/1.mp4", "B/1.mp4", "A/2.mp4", "B/2.mp4")
    write("videos.csv", "path,label,split\nA/1.mp4,a,test\n")
    assert recognise(root) == "csv"
    assert load_videos(root, subset="test", format="folder").format == "folder"


def test_a_list_without_videos_is_refused(write: Callable[..., Path]) -> None:
    write("ucfTrainTestlist/classInd.txt", "1 A\n")
    root = write("ucfTrainTestlist/testlist01.txt", "\n").parent.parent
    with pytest.raises(DataError, match=r"root: no videos in split 1 test \(ucfTrainTestlist\)"):
        load_videos(root, subset="test")
