from collections import Counter
from collections.abc import Callable

import pytest

from t3d.data.samples import NoSuchSubsetError, Sample, VideoList
from t3d.data.splits import fold_samples
from t3d.errors import DataError

MakeList = Callable[..., VideoList]


def folds_of(samples: tuple[Sample, ...], *, num_folds: int) -> list[tuple[Sample, ...]]:
    return [fold_samples(samples, "test", split=split, where="d") for split in range(1, num_folds + 1)]


def test_every_video_is_tested_once_and_trained_in_all_other_folds(video_list: MakeList) -> None:
    samples = video_list([(f"g{index // 3}", index % 2) for index in range(60)]).samples
    tests = folds_of(samples, num_folds=5)
    assert sorted(sample.name for test in tests for sample in test) == sorted(sample.name for sample in samples)
    for split, test in enumerate(tests, start=1):
        train = fold_samples(samples, "train", split=split, where="d")
        assert set(train) | set(test) == set(samples)
        assert not {sample.group for sample in train} & {sample.group for sample in test}


def test_folds_are_alike_in_every_class_when_each_file_is_its_own_group(video_list: MakeList) -> None:
    samples = video_list([(f"g{index}", int(index >= 10)) for index in range(40)]).samples
    for test in folds_of(samples, num_folds=5):
        assert Counter(sample.label for sample in test) == {0: 2, 1: 6}


def test_three_people_make_three_folds(video_list: MakeList) -> None:
    samples = video_list([(f"p{index % 3}", index // 9) for index in range(27)], num_labels=3).samples
    for test in folds_of(samples, num_folds=3):
        assert len({sample.group for sample in test}) == 1
        assert Counter(sample.label for sample in test) == {0: 3, 1: 3, 2: 3}
    with pytest.raises(DataError, match="d: no split 4; its folds are numbered 1 to 3"):
        fold_samples(samples, "test", split=4, where="d")
    with pytest.raises(DataError, match="no split 0"):
        fold_samples(samples, "test", split=0, where="d")


def test_the_order_of_the_list_does_not_matter(video_list: MakeList) -> None:
    samples = video_list([(f"g{index % 7}", index % 2) for index in range(50)]).samples
    forward = {frozenset(test) for test in folds_of(samples, num_folds=5)}
    assert forward == {frozenset(test) for test in folds_of(samples[::-1], num_folds=5)}


def test_no_group_no_folds(video_list: MakeList) -> None:
    samples = video_list([("me", 0), ("me", 1)]).samples
    with pytest.raises(DataError, match="all 2 videos are one group"):
        fold_samples(samples, "train", split=1, where="d")
    with pytest.raises(NoSuchSubsetError, match="no validation videos; carve"):
        fold_samples(samples, "validation", split=1, where="d")


def test_a_class_of_one_group_cannot_be_tested(video_list: MakeList) -> None:
    samples = video_list([("a", 0), ("b", 1), ("c", 1)]).samples
    tested = []
    refusals = []
    for split in (1, 2, 3):
        try:
            tested += fold_samples(samples, "test", split=split, where="d")
        except DataError as error:
            refusals.append(str(error))
    assert [sample.label for sample in tested] == [1, 1]
    assert [message.partition("holds ")[2] for message in refusals] == [
        "all videos of the class of 0.mp4; add videos of other groups"
    ]
