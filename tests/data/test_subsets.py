import pytest

from t3d.data.samples import NoSuchSubsetError, Subset, source_subset, subset_named


@pytest.mark.parametrize(
    ("name", "subset"),
    [
        ("train", "train"),
        ("Val", "validation"),
        ("validate", "validation"),
        (" TEST ", "test"),
        ("dev", None),
        ("", None),
    ],
)
def test_names_of_subsets(name: str, subset: Subset | None) -> None:
    assert subset_named(name) == subset


@pytest.mark.parametrize("subset", ["train", "validation", "test"])
def test_with_all_three_each_is_itself(subset: Subset) -> None:
    assert source_subset(subset, ("train", "validation", "test"), where="d") == (subset, ())


def test_validation_serves_as_test_where_there_is_none_and_says_so() -> None:
    source, warnings = source_subset("test", ("train", "validation"), where="d")
    assert source == "validation"
    assert warnings == ("d has no test videos: its validation videos serve as the test",)
    with pytest.raises(NoSuchSubsetError, match="serve as the test"):
        source_subset("validation", ("train", "validation"), where="d")


def test_what_is_not_there_is_refused_with_what_is() -> None:
    with pytest.raises(NoSuchSubsetError, match="d: no validation videos, only test and train"):
        source_subset("validation", ("train", "test"), where="d")
    with pytest.raises(NoSuchSubsetError, match="d: no test videos, only train"):
        source_subset("test", ("train",), where="d")
