import json
from dataclasses import asdict

import pytest

from t3d.errors import ConfigError
from t3d.models import DenseNetSpec
from t3d.models.overrides import override


def test_every_field_survives_json() -> None:
    spec = DenseNetSpec(ttl_depths=((1, 3, 6), None, (1,)), dropout=0.25, keep_last_plane=True)
    assert override(DenseNetSpec(), json.loads(json.dumps(asdict(spec)))) == spec


def test_what_is_not_named_stays() -> None:
    assert override(DenseNetSpec(growth_rate=8), {"ttl_width": 5}) == DenseNetSpec(growth_rate=8, ttl_width=5)


def test_unknown_options_are_answered_with_the_known_ones() -> None:
    with pytest.raises(ConfigError, match=r"unknown option 'widht'; choose from blocks, .*ttl_width"):
        override(DenseNetSpec(), {"widht": 3})


@pytest.mark.parametrize(
    ("option", "value", "wanted"),
    [
        ("growth_rate", 1.5, "int"),
        ("growth_rate", "32", "int"),
        ("in_channels", True, "int"),
        ("blocks", [6, None], r"tuple\[int, ...\]"),
        ("stem_kernel", [3, 7], r"tuple\[int, int, int\]"),
        ("stem_kernel", "377", r"tuple\[int, int, int\]"),
        ("ttl_depths", [1, 3, 4], r"tuple\[tuple\[int, ...\] \| None, ...\]"),
        ("ttl_depths", None, r"tuple\[tuple\[int, ...\] \| None, ...\]"),
        ("ttl_compress", "yes", "bool"),
        ("keep_last_plane", 1, "bool"),
        ("replicate_time", 0, "bool"),
        ("neck", False, "int"),
        ("dropout", "half", "float"),
    ],
)
def test_values_of_another_type_are_refused_by_name(option: str, value: object, wanted: str) -> None:
    with pytest.raises(ConfigError, match=f"^{option} .* must be of type {wanted}$"):
        override(DenseNetSpec(), {option: value})


@pytest.mark.parametrize(("given", "kept"), [(0, 0.0), (0.5, 0.5)])
def test_whole_numbers_will_do_for_a_float(given: float, kept: float) -> None:
    dropout = override(DenseNetSpec(), {"dropout": given}).dropout
    assert (type(dropout), dropout) == (float, kept)
