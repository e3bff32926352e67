from pathlib import Path

import pytest

from t3d.data.samples import NoSuchSubsetError, Sample, Subset, group_of_name, source_subset, subset_named, with_groups


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


@pytest.mark.parametrize(
    ("stem", "group"),
    [
        ("v_ApplyEyeMakeup_g08_c01", "v_ApplyEyeMakeup_g08"),
        ("v_HandStandPushups_g25_c04", "v_HandStandPushups_g25"),
        ("50_FIRST_DATES_wave_f_cm_np1_fr_med_0", "50_FIRST_DATES_wave"),
        ("#437_How_To_Ride_A_Bike_ride_bike_f_cm_np1_ri_med_12", "#437_How_To_Ride_A_Bike_ride_bike"),
        ("--nQbRBEz2s_000104_000114", "--nQbRBEz2s"),
        ("a_b_c_d_e_000104_000114", None),  # eleven characters before the seconds, or it is no YouTube id
        ("PS7A1P1T1", None),
        ("holiday", None),
    ],
)
def test_names_of_known_datasets_tell_their_group(stem: str, group: str | None) -> None:
    assert group_of_name(stem) == group


def sample(name: str, group: str = "", start: float | None = None) -> Sample:
    return Sample(name=name, path=Path("/somewhere") / name, label=0, group=group, start_seconds=start)


def test_unknown_names_are_groups_of_their_own_and_warn() -> None:
    samples, warnings = with_groups(
        [sample("A/x.mp4"), sample("B/x.mp4"), sample("v_A_g01_c01.avi"), sample("y", "me")]
    )
    assert [one.group for one in samples] == ["A/x.mp4", "B/x.mp4", "v_A_g01", "me"]
    assert len(warnings) == 1
    assert warnings[0].startswith("2 of 4 videos name no group")


def test_pieces_of_one_file_belong_together() -> None:
    samples, _ = with_groups([sample("#1.mp4#0-2", start=0.0), sample("#1.mp4#2-4", start=2.0), sample("#1.mp4")])
    assert {one.group for one in samples} == {"#1.mp4"}


def test_nothing_to_warn_about() -> None:
    assert with_groups([sample("v_A_g01_c01.avi"), sample("y", "me")])[1] == ()
