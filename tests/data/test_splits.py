from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from t3d.data.formats import load_videos
from t3d.data.formats.ucf101 import read_ucf101_list
from t3d.data.samples import UNLABELLED, NoSuchSubsetError, Sample, VideoList
from t3d.data.splits import carve_validation, check_disjoint, group_kfold, hold_out, take_labels
from t3d.errors import ConfigError, DataError

MakeList = Callable[..., VideoList]


def carve(videos: VideoList, *, fraction: float = 0.2, seed: int = 0) -> tuple[VideoList, VideoList]:
    return carve_validation(videos, fraction=fraction, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("seed", range(2))
@pytest.mark.parametrize("group_size", [1, 3, 7])
def test_whole_groups_go_and_every_class_keeps_its_share(video_list: MakeList, seed: int, group_size: int) -> None:
    videos = video_list([(f"g{index // group_size}-{index % 2}", index % 2) for index in range(140)])
    train, validation = carve(videos, seed=seed)
    assert sorted((*train.samples, *validation.samples), key=lambda sample: int(sample.name[:-4])) == list(
        videos.samples
    )
    assert not {sample.group for sample in train.samples} & {sample.group for sample in validation.samples}
    for label in (0, 1):  # 70 videos each, of which a fifth is 14; a group can be half its size too much or too little
        assert abs(sum(sample.label == label for sample in validation.samples) - 14) <= group_size / 2
    assert train.labels == validation.labels == videos.labels


def test_groups_that_show_every_class_go_as_a_whole(video_list: MakeList) -> None:
    videos = video_list([(f"p{index % 6}", index // 12) for index in range(48)], num_labels=4)
    train, validation = carve(videos, fraction=0.17)
    assert len({sample.group for sample in validation.samples}) == 1
    assert Counter(sample.label for sample in train.samples) == dict.fromkeys(range(4), 10)


def test_the_generator_decides(video_list: MakeList) -> None:
    videos = video_list([(f"g{index}", index % 2) for index in range(40)])
    assert carve(videos, seed=1) == carve(videos, seed=1)
    assert carve(videos, seed=1)[1].samples != carve(videos, seed=2)[1].samples


def test_a_class_of_one_group_stays_in_training_and_is_counted(video_list: MakeList) -> None:
    videos = video_list([("a", 0), ("a", 0), ("b", 1), ("c", 1), ("d", 1)])
    train, validation = carve(videos)
    assert [sample.label for sample in validation.samples] == [1]
    assert [sample.label for sample in train.samples].count(0) == 2
    assert validation.warnings == ("1 of 2 classes have no validation video: too few groups to spare one",)
    assert "1 of 4 groups" in validation.split


def test_the_least_bad_group_goes_where_all_are_too_large(video_list: MakeList) -> None:
    videos = video_list([("small", 0)] * 30 + [("large", 0)] * 70, num_labels=1)
    train, validation = carve(videos, fraction=0.1)
    assert (len(train.samples), len(validation.samples)) == (70, 30)


def test_one_group_cannot_be_carved(video_list: MakeList) -> None:
    for pairs in ([("me", 0), ("me", 1)], [("a", 0), ("b", 1)]):
        with pytest.raises(DataError, match="no validation videos can be carved from split 1 train"):
            carve(video_list(pairs))


def test_a_tenth_of_official_ucf101_is_a_tenth_of_every_class(shared_data: Path) -> None:
    from t3d.data.samples import with_groups

    labels, listed = read_ucf101_list(shared_data / "splits" / "ucfTrainTestlist", "train", split=1)
    samples, _ = with_groups(listed)
    videos = VideoList(samples=samples, labels=labels, root=Path("/r"), format="ucf101", split="split 1 train")
    _, validation = carve(videos, fraction=0.1)
    totals = Counter(sample.label for sample in samples)
    held = Counter(sample.label for sample in validation.samples)
    assert len(held) == 101
    assert all(abs(held[label] - 0.1 * totals[label]) <= 4 for label in totals)


def test_a_shared_group_is_refused_unless_told(video_list: MakeList) -> None:
    train = video_list([("a", 0), ("b", 1)])
    test = video_list([("c", 0), ("b", 1), ("b", 0)])
    with pytest.raises(DataError, match=r"/r: 1 groups .* \(2 of 3 test videos\), for example 'b'; .*--allow-shared"):
        check_disjoint(train, test)
    check_disjoint(train, test, allow_shared_groups=True)
    check_disjoint(train, replace(test, samples=test.samples[:1]))


def test_random_division_of_clips_by_one_actor_is_caught(shared_data: Path) -> None:
    videos = load_videos(shared_data / "weizmann4", subset="train")
    even, odd = (replace(videos, samples=videos.samples[start::2]) for start in (0, 1))
    with pytest.raises(DataError, match="24 groups are in training and in test"):
        check_disjoint(even, odd)


def take(videos: VideoList, *, per_class: int | None = None, fraction: float | None = None, seed: int = 0) -> VideoList:
    return take_labels(videos, per_class=per_class, fraction=fraction, generator=torch.Generator().manual_seed(seed))


def test_so_many_labels_a_class(video_list: MakeList) -> None:
    videos = video_list([(f"g{index}", index % 3) for index in range(60)], num_labels=3)
    few = take(videos, per_class=5)
    assert Counter(sample.label for sample in few.samples) == {0: 5, 1: 5, 2: 5}
    assert list(few.samples) == [sample for sample in videos.samples if sample in few.samples]
    assert (few.labels, few.split, few.warnings) == (videos.labels, "split 1 train, 5 videos a class", ())
    assert take(videos, per_class=5) == few
    assert take(videos, per_class=5, seed=1).samples != few.samples


def test_a_share_of_every_class(video_list: MakeList) -> None:
    videos = video_list([("g", 0)] * 40 + [("g", 1)] * 10 + [("g", 2)], num_labels=3)
    half = take(videos, fraction=0.5)
    assert Counter(sample.label for sample in half.samples) == {0: 20, 1: 5, 2: 1}
    assert half.split == "split 1 train, 0.5 of every class"
    assert Counter(sample.label for sample in take(videos, fraction=0.01).samples) == {0: 1, 1: 1, 2: 1}
    assert take(videos, fraction=1.0).samples == videos.samples


def test_few_labels_are_among_more(video_list: MakeList) -> None:
    videos = video_list([(f"g{index}", index % 2) for index in range(60)])
    five, twenty = (set(take(videos, per_class=number, seed=3).samples) for number in (5, 20))
    assert five < twenty


def test_classes_with_too_few_labels_keep_what_they_have_and_are_named(video_list: MakeList) -> None:
    videos = replace(video_list([("g", 0)] * 9 + [("g", 1)] * 2, num_labels=3), warnings=("first",))
    few = take(videos, per_class=4)
    assert Counter(sample.label for sample in few.samples) == {0: 4, 1: 2}
    assert few.warnings == ("first", "2 of 3 classes have fewer than 4 training videos: 'class1' has 2")


@pytest.mark.parametrize(
    ("wanted", "words"),
    [
        ({}, "one of the two"),
        ({"per_class": 5, "fraction": 0.5}, "one of the two"),
        ({"per_class": 0}, "0 videos a class"),
        ({"fraction": 0.0}, r"share of 0\.0"),
        ({"fraction": 1.5}, r"share of 1\.5"),
        ({"fraction": float("nan")}, "share of nan"),
    ],
)
def test_amounts_that_make_no_sense_are_refused(video_list: MakeList, wanted: dict[str, float], words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        take(video_list([("g", 0)]), **wanted)


MakeList = Callable[..., VideoList]


def every_fold(samples: tuple[Sample, ...], *, num_folds: int) -> list[tuple[Sample, ...]]:
    return [group_kfold(samples, "test", split=split, where="d") for split in range(1, num_folds + 1)]


def test_every_video_is_tested_once_and_trained_in_all_other_folds(video_list: MakeList) -> None:
    samples = video_list([(f"g{index // 3}", index % 2) for index in range(60)]).samples
    tests = every_fold(samples, num_folds=5)
    assert sorted(sample.name for test in tests for sample in test) == sorted(sample.name for sample in samples)
    for split, test in enumerate(tests, start=1):
        train = group_kfold(samples, "train", split=split, where="d")
        assert set(train) | set(test) == set(samples)
        assert not {sample.group for sample in train} & {sample.group for sample in test}


def test_folds_are_alike_in_every_class_when_each_file_is_its_own_group(video_list: MakeList) -> None:
    samples = video_list([(f"g{index}", int(index >= 10)) for index in range(40)]).samples
    for test in every_fold(samples, num_folds=5):
        assert Counter(sample.label for sample in test) == {0: 2, 1: 6}


def test_three_people_make_three_folds(video_list: MakeList) -> None:
    samples = video_list([(f"p{index % 3}", index // 9) for index in range(27)], num_labels=3).samples
    for test in every_fold(samples, num_folds=3):
        assert len({sample.group for sample in test}) == 1
        assert Counter(sample.label for sample in test) == {0: 3, 1: 3, 2: 3}
    with pytest.raises(DataError, match="d: no split 4; its folds are numbered 1 to 3"):
        group_kfold(samples, "test", split=4, where="d")
    with pytest.raises(DataError, match="no split 0"):
        group_kfold(samples, "test", split=0, where="d")


def test_the_order_of_the_list_does_not_matter(video_list: MakeList) -> None:
    samples = video_list([(f"g{index % 7}", index % 2) for index in range(50)]).samples
    forward = {frozenset(test) for test in every_fold(samples, num_folds=5)}
    assert forward == {frozenset(test) for test in every_fold(samples[::-1], num_folds=5)}


def test_no_group_no_folds(video_list: MakeList) -> None:
    samples = video_list([("me", 0), ("me", 1)]).samples
    with pytest.raises(DataError, match="all 2 videos are one group"):
        group_kfold(samples, "train", split=1, where="d")
    with pytest.raises(NoSuchSubsetError, match="no validation videos; carve"):
        group_kfold(samples, "validation", split=1, where="d")


def test_a_class_of_one_group_cannot_be_tested(video_list: MakeList) -> None:
    samples = video_list([("a", 0), ("b", 1), ("c", 1)]).samples
    tested = []
    refusals = []
    for split in (1, 2, 3):
        try:
            tested += group_kfold(samples, "test", split=split, where="d")
        except DataError as error:
            refusals.append(str(error))
    assert [sample.label for sample in tested] == [1, 1]
    assert [message.partition("holds ")[2] for message in refusals] == [
        "all videos of the class of 0.mp4; add videos of other groups"
    ]


def held(videos: VideoList, *, fraction: float = 0.2, seed: int = 0) -> tuple[VideoList, VideoList]:
    return hold_out(videos, fraction=fraction, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("seed", range(2))
def test_whole_groups_are_held_out(video_list: MakeList, seed: int) -> None:
    videos = video_list([(f"g{index // 3}", UNLABELLED) for index in range(150)], num_labels=0)
    train, validation = held(videos, seed=seed)
    assert set(train.samples) | set(validation.samples) == set(videos.samples)
    assert not {sample.group for sample in train.samples} & {sample.group for sample in validation.samples}
    assert len(validation.samples) == 30
    assert list(validation.samples) == [sample for sample in videos.samples if sample in validation.samples]
    assert "less 10 of 50 groups held out" in train.split
    assert validation.split == "held out: 10 of 50 groups of split 1 train"


def test_the_generator_decides_what_is_held_out(video_list: MakeList) -> None:
    videos = video_list([(f"g{index}", UNLABELLED) for index in range(40)], num_labels=0)
    assert held(videos, seed=1) == held(videos, seed=1)
    assert held(videos, seed=1)[1].samples != held(videos, seed=2)[1].samples


@pytest.mark.parametrize("fraction", [0.001, 0.999])
@pytest.mark.parametrize("seed", range(2))
def test_two_groups_are_on_either_side(video_list: MakeList, fraction: float, seed: int) -> None:
    sides = held(video_list([(f"g{index}", UNLABELLED) for index in range(9)]), fraction=fraction, seed=seed)
    assert sorted(len(side.samples) for side in sides) == [2, 7]


@pytest.mark.parametrize("seed", range(2))
def test_one_long_video_stays_where_it_outweighs_the_share(video_list: MakeList, seed: int) -> None:
    videos = video_list([("film", UNLABELLED)] * 80 + [(f"g{index}", UNLABELLED) for index in range(20)])
    _, validation = held(videos, fraction=0.1, seed=seed)
    assert len(validation.samples) == 10
    assert "film" not in {sample.group for sample in validation.samples}


def test_too_few_videos(video_list: MakeList) -> None:
    few = video_list([("a", UNLABELLED)] * 50 + [("b", UNLABELLED), ("c", UNLABELLED)])
    with pytest.raises(DataError, match=r"/r: too few videos to hold some out: 3 different files"):
        held(few)
    assert [len(side.samples) for side in held(video_list([(name, UNLABELLED) for name in "abcd"]))] == [2, 2]
