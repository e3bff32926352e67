import pytest

from t3d.data.samples import number_labels, sorted_labels
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
