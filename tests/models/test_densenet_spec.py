import pytest

from t3d.errors import ConfigError
from t3d.models import DenseNetSpec


@pytest.mark.parametrize(
    ("options", "minimum"),
    [
        ({}, (15, 29, 29)),  # 8 planes before three halvings, from a stem of stride 2: 2 * 7 + 1; H, W once more
        ({"stem_pool_stride": (2, 2, 2)}, (29, 29, 29)),
        ({"stem_stride": (1, 2, 2)}, (8, 29, 29)),
        ({"keep_last_plane": True}, (1, 29, 29)),
        ({"stem_stride": (1, 2, 2), "transition_time_stride": 1}, (1, 29, 29)),
        ({"blocks": (2,), "ttl_depths": ()}, (1, 1, 1)),
    ],
)
def test_minimum_size(options: dict[str, object], minimum: tuple[int, int, int]) -> None:
    assert DenseNetSpec(**options).minimum_size == minimum


@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("blocks", ()),
        ("blocks", (6, 0, 24, 16)),
        ("growth_rate", 0),
        ("in_channels", -3),
        ("stem_stride", (0, 2, 2)),
        ("stem_kernel", (2, 7, 7)),
        ("stem_pool_kernel", (3, 3, 4)),
        ("dense_time_kernel", 2),
        ("ttl_depths", ((1, 3), None)),
        ("ttl_depths", ((), None, None)),
        ("ttl_depths", ((1, 0), None, None)),
        ("neck", -1),
        ("dropout", 1.0),
        ("dropout", -0.1),
    ],
)
def test_values_out_of_range_are_refused_by_name(option: str, value: object) -> None:
    with pytest.raises(ConfigError, match=f"^{option} .* must ") as caught:
        DenseNetSpec(**{option: value})
    assert "\n" not in str(caught.value)


def test_depths_must_fit_the_blocks() -> None:
    with pytest.raises(ConfigError, match=r"must have 2 entries, one after each of the 3 stages but the last"):
        DenseNetSpec(blocks=(2, 3, 4))
