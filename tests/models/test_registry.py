import json
from collections import OrderedDict
from dataclasses import asdict, dataclass

import pytest
import torch
from torch import nn

from t3d.errors import ConfigError
from t3d.models import ARCHITECTURES, Architecture, DenseNetSpec, create_model, native_input
from t3d.models.layers import Size
from t3d.models.network import Trunk
from t3d.models.registry import override


def _dense_block(channels: int, num_layers: int, growth: int, squeezed: int) -> tuple[int, int]:
    """Parameters of a block, and its channels: 1x1x1 and 3x3x3 convolutions, each behind a norm (scale, shift)."""
    count = 0
    for _ in range(num_layers):
        count += 2 * channels + channels * squeezed
        count += 2 * squeezed + squeezed * growth * 27
        channels += growth
    return count, channels


def _halving_transition(channels: int) -> tuple[int, int]:
    return 2 * channels + channels * (channels // 2), channels // 2


def _temporal_transition(channels: int, depths: tuple[int, int, int]) -> tuple[int, int]:
    volumes = sum(1 if depth == 1 else 9 * depth for depth in depths)
    return 3 * 2 * channels + channels * 128 * volumes, 3 * 128


def _closed_form(blocks: tuple[int, ...], *, temporal: bool, growth: int = 32, stem: int = 64) -> tuple[int, int]:
    """Parameters with 400 classes, and the width of the head."""
    count, channels = 3 * stem * 3 * 7 * 7 + 2 * stem, stem
    table = [(1, 3, 6), (1, 3, 4), (1, 3, 4)]
    for index, num_layers in enumerate(blocks):
        added, channels = _dense_block(channels, num_layers, growth, 4 * growth)
        count += added
        if index < 3:
            added, channels = (
                _temporal_transition(channels, table[index]) if temporal else _halving_transition(channels)
            )
            count += added
    return count + 2 * channels + 400 * channels + 400, channels


_LAYERS = {"121": (6, 12, 24, 16), "161": (6, 12, 36, 24), "169": (6, 12, 32, 32), "201": (6, 12, 48, 32)}


@pytest.mark.parametrize("depth", _LAYERS)
@pytest.mark.parametrize("family", ["densenet3d", "t3d"])
def test_parameters_match_closed_form(family: str, depth: str) -> None:
    widths = {"growth": 48, "stem": 96} if depth == "161" else {}
    with torch.device("meta"):
        model = create_model(f"{family}_{depth}")
    expected, num_features = _closed_form(_LAYERS[depth], temporal=family == "t3d", **widths)
    assert sum(parameter.numel() for parameter in model.parameters()) == expected
    assert model.num_features == num_features


@pytest.mark.parametrize("name", [name for name in ARCHITECTURES if "tiny" in name])
def test_tiny_networks_have_about_half_a_million_parameters(name: str) -> None:
    num_parameters = sum(parameter.numel() for parameter in create_model(name, 12).parameters())
    assert 0.48e6 < num_parameters < 0.56e6


def test_native_inputs() -> None:
    families: dict[tuple[int, ...], set[str]] = {}
    for name in ARCHITECTURES:
        kind = "tiny" if "tiny" in name else name.split("_")[0]
        families.setdefault(native_input(name), set()).add(kind)
    assert families == {
        (3, 16, 64, 64): {"tiny"},
        (3, 16, 112, 112): {"c3d", "r3d", "resnet3d"},
        (3, 32, 224, 224): {"densenet3d", "inception3d", "t3d"},
        (3, 64, 224, 224): {"i3d"},
    }


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_native_inputs_are_large_enough(name: str) -> None:
    _, *size = native_input(name)
    assert all(given >= needed for given, needed in zip(size, ARCHITECTURES[name].spec.minimum_size, strict=True))


def test_overrides_may_come_from_json() -> None:
    overrides = json.loads('{"ttl_depths": [[1, 2], null, [3]], "ttl_width": 8, "dropout": 0.5}')
    model = create_model("densenet3d_tiny", 3, **overrides)
    assert model.spec.ttl_depths == ((1, 2), None, (3,))
    assert [type(model.stages[index]).__name__ for index in (1, 3, 5)] == [
        "TemporalTransition",
        "DenseTransition",
        "TemporalTransition",
    ]
    assert model.stages.transition1.out_channels == 2 * 8


@pytest.mark.parametrize("build", [create_model, native_input])
def test_unknown_names_are_answered_with_the_known_ones(build: object) -> None:
    with pytest.raises(ConfigError, match=r"unknown arch 't3d_122'; choose from c3d, c3d_tiny, .*t3d_tiny$"):
        build("t3d_122")


def test_unknown_options_are_refused() -> None:
    with pytest.raises(ConfigError, match="unknown option 'widht'"):
        create_model("t3d_tiny", widht=3)


def test_a_negative_number_of_classes_is_refused() -> None:
    with pytest.raises(ConfigError, match="num_classes -1 must be at least 0"):
        create_model("t3d_tiny", -1)


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


@dataclass(frozen=True, kw_only=True)
class OneConvolution:
    """A family of somebody else."""

    width: int = 4
    in_channels: int = 3
    neck: int = 0

    @property
    def minimum_size(self) -> Size:
        return 1, 1, 1

    def twin(self) -> dict[str, object]:
        return {}

    def build(self) -> Trunk:
        stages = nn.Sequential(OrderedDict(block1=nn.Conv3d(self.width, self.width, 1)))
        return Trunk(stem=nn.Conv3d(self.in_channels, self.width, 1), stages=stages, num_features=self.width)


def test_a_row_of_the_table_is_all_that_a_new_architecture_needs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(ARCHITECTURES, "mine", Architecture(spec=OneConvolution(), num_frames=4, size=8))
    network = create_model("mine", 5, width=6)
    assert network(torch.zeros(2, *native_input("mine"))).shape == (2, 5)
    assert network.num_features == 6
