from collections.abc import Callable
from pathlib import Path

import pytest

from t3d.data import folders
from t3d.data.folders import entries, find_videos, folders_in, videos_in
from t3d.data.samples import Sample
from t3d.errors import DataError


def wanted(*names: str) -> list[Sample]:
    return [Sample(name=name, path=Path(name), label=0, group="") for name in names]


def test_videos_are_told_by_suffix_and_hidden_files_left_out(touch: Callable[..., Path]) -> None:
    root = touch("b.AVI", "a.mp4", "._a.mp4", "notes.txt", "sub/c.mp4")
    assert videos_in(root) == ["a.mp4", "b.AVI"]
    assert folders_in(root) == ["sub"]
    assert entries(root / "absent") == []


def test_the_exact_name_wins_over_the_same_stem(touch: Callable[..., Path]) -> None:
    root = touch("A/x.mp4", "A/x.avi", "A/y.webm")
    present, missing = find_videos(wanted("A/x.avi", "A/y.avi", "A/z.avi"), lambda sample: [root / "A"])
    assert [sample.path.name for sample in present] == ["x.avi", "y.webm"]
    assert [sample.name for sample in present] == ["A/x.avi", "A/y.avi"]
    assert missing == (Path("A/z.avi"),)


def test_another_suffix_can_be_refused(touch: Callable[..., Path]) -> None:
    root = touch("y.webm")
    present, missing = find_videos(wanted("y.avi"), lambda sample: [root], any_suffix=False)
    assert (present, missing) == ((), (Path("y.avi"),))


def test_places_are_tried_in_order(touch: Callable[..., Path]) -> None:
    root = touch("second/x.mp4", "third/x.mp4")
    places = [root / name for name in ("first", "second", "third")]
    present, _ = find_videos(wanted("x.mp4"), lambda sample: places)
    assert present[0].path == root / "second" / "x.mp4"


def test_each_needed_folder_is_listed_once_and_no_other(
    touch: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    root = touch("A/1.mp4", "A/2.mp4", "A/3.mp4", "B/1.mp4")
    looked: list[Path] = []
    monkeypatch.setattr(folders, "entries", lambda folder: looked.append(folder) or entries(folder))
    find_videos(wanted("1.mp4", "2.mp4", "4.mp4"), lambda sample: [root / "A"], any_suffix=False)
    assert looked == [root / "A"]


def test_a_folder_that_may_not_be_read_is_named(touch: Callable[..., Path], monkeypatch: pytest.MonkeyPatch) -> None:
    root = touch("x.mp4")

    def refuse(folder: Path) -> list[str]:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(folders.os, "listdir", refuse)
    with pytest.raises(DataError, match=r"root: cannot be read \(Permission denied\); check"):
        entries(root)
