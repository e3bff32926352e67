from collections.abc import Callable
from pathlib import Path

import pytest

from t3d.data import folders
from t3d.data.formats import load_videos, recognise
from t3d.data.samples import NoSuchSubsetError
from t3d.errors import DataError

Touch = Callable[..., Path]


def test_a_folder_for_each_class_is_divided_into_folds(touch: Touch) -> None:
    root = touch(*[f"{label}/{index}.mp4" for label in ("walk", "run") for index in range(10)], "notes/readme.txt")
    assert recognise(root) == "folder"
    tested = []
    for split in range(1, 6):
        train = load_videos(root, subset="train", split=split)
        test = load_videos(root, subset="test", split=split)
        assert train.labels == test.labels == ("run", "walk")
        assert (len(train.samples), sorted(sample.label for sample in test.samples)) == (16, [0, 0, 1, 1])
        tested += [sample.name for sample in test.samples]
    assert sorted(tested) == sorted(f"{label}/{index}.mp4" for label in ("walk", "run") for index in range(10))
    assert "20 of 20 videos name no group" in test.warnings[0]
    assert "made here" in test.split


def test_folds_do_not_depend_on_where_the_folder_lies(touch: Touch) -> None:
    names = [f"{label}/{index}.mp4" for label in ("walk", "run") for index in range(7)]
    tests = [load_videos(touch(*names, root=root), subset="test") for root in ("here", "there")]
    assert [sample.name for sample in tests[0].samples] == [sample.name for sample in tests[1].samples]


def test_names_that_tell_a_person_keep_the_person_together(touch: Touch) -> None:
    root = touch(
        *[f"{label}/v_x_g{group:02d}_c{clip:02d}.avi" for label in "ab" for group in (1, 2, 3) for clip in (1, 2)]
    )
    for split in (1, 2, 3):
        test = load_videos(root, subset="test", split=split)
        assert len({sample.group for sample in test.samples}) == 1
        assert len(test.samples) == 4
        assert test.warnings == ()
    with pytest.raises(DataError, match="numbered 1 to 3"):
        load_videos(root, subset="test", split=4)


def test_three_subset_folders(touch: Touch) -> None:
    root = touch("train/a/1.mp4", "train/b/2.mp4", "val/a/3.mp4", "test/b/4.mp4")
    loaded = {subset: load_videos(root, subset=subset) for subset in ("train", "validation", "test")}
    assert [sample.name for sample in loaded["validation"].samples] == ["val/a/3.mp4"]
    assert [(sample.name, sample.label) for sample in loaded["test"].samples] == [("test/b/4.mp4", 1)]
    assert {videos.labels for videos in loaded.values()} == {("a", "b")}
    with pytest.raises(DataError, match="no split 2; its folders make up split 1"):
        load_videos(root, subset="train", split=2)


def test_validation_serves_as_test_and_says_so(touch: Touch) -> None:
    root = touch("train/a/1.mp4", "train/b/2.mp4", "validate/a/3.mp4")
    videos = load_videos(root, subset="test")
    assert videos.split == "test (folder validate)"
    assert "serve as the test" in videos.warnings[0]
    with pytest.raises(NoSuchSubsetError):
        load_videos(root, subset="validation")


def test_a_class_only_in_test_is_refused(touch: Touch) -> None:
    root = touch("train/a/1.mp4", "train/b/2.mp4", "test/c/3.mp4")
    with pytest.raises(DataError, match="class 'c' has no training video"):
        load_videos(root, subset="test")


def test_a_test_folder_alone_can_be_read(touch: Touch) -> None:
    assert load_videos(touch("test/a/1.mp4", "test/b/2.mp4"), subset="test").labels == ("a", "b")


def test_two_folders_for_one_subset_are_refused(touch: Touch) -> None:
    with pytest.raises(DataError, match="val and validation both hold validation videos"):
        load_videos(touch("train/a/1.mp4", "val/a/2.mp4", "validation/a/3.mp4"), subset="train")


def test_a_class_may_be_called_train(touch: Touch) -> None:
    root = touch("train/1.mp4", "train/2.mp4", "plane/1.mp4", "plane/2.mp4")
    assert load_videos(root, subset="train").labels == ("plane", "train")


def test_folders_of_other_subsets_are_not_searched_for_videos(touch: Touch, monkeypatch: pytest.MonkeyPatch) -> None:
    root = touch("train/a/1.mp4", "test/a/2.mp4", "val/a/3.mp4")
    looked: list[str] = []
    entries = folders.entries
    monkeypatch.setattr(
        folders, "entries", lambda folder: looked.append(folder.relative_to(root).as_posix()) or entries(folder)
    )
    load_videos(root, subset="train", format="folder")
    assert "train/a" in looked
    assert not {"test/a", "val/a"} & set(looked)


def test_no_videos_anywhere(touch: Touch) -> None:
    with pytest.raises(DataError, match="no folder in it holds videos"):
        load_videos(touch("a/readme.txt"), subset="train", format="folder")


def test_arid_has_no_classes_in_its_validation_folder(shared_data: Path) -> None:
    assert len(load_videos(shared_data / "arid6", subset="train").samples) == 150
    with pytest.raises(NoSuchSubsetError, match="arid6: no test videos, only train"):
        load_videos(shared_data / "arid6", subset="test")
