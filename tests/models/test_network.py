"""What all networks of the table have in common; the layers of each family are tested beside it."""

import math
import re
from functools import cache

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from t3d.errors import ConfigError
from t3d.models import ARCHITECTURES, C3DSpec, DenseNetSpec, InceptionSpec, Network, ResNetSpec, create_model
from t3d.models.network import Spec, Trunk

TINY = [name for name in ARCHITECTURES if "tiny" in name]
SHORT = {  # every family in the smallest form that still has all its layers
    "c3d": {"widths": ((3,), (4,), (5, 6), (6, 6), (6, 7)), "fc_width": 8},
    "i3d": {"entry": (4, 4, 6), "mixed": tuple(((3, 2, 3, 2, 2, 2),) for _ in range(3))},
}
SMALLER = [(name, axis) for name, row in ARCHITECTURES.items() for axis in range(3) if row.spec.minimum_size[axis] > 1]
"""Axes of which a single frame or pixel is not enough."""
PART = re.compile(r"stem|stages\.(block|transition)\d|norm|head|neck|classifier")


@cache
def _meta(name: str) -> Network:
    with torch.device("meta"):
        return create_model(name, 7).eval()


def _empty(name: str, size: tuple[int, ...]) -> Tensor:
    return torch.empty(2, _meta(name).spec.in_channels, *size, device="meta")


def _generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def _clips(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=_generator(seed))


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_shapes_of_all_outputs_at_the_smallest_size(name: str) -> None:
    model, clips = _meta(name), _empty(name, _meta(name).spec.minimum_size)
    last = model.forward_features(clips)
    assert (last.ndim, last.shape[0]) == (5, 2)
    assert min(last.shape[2:]) >= 1
    assert model.embed(clips).shape == (2, model.num_features)
    assert model(clips).shape == (2, 7)
    assert model.classifier.in_features == model.num_features


@pytest.mark.parametrize(("name", "axis"), SMALLER)
def test_one_less_than_the_smallest_size_is_refused(name: str, axis: int) -> None:
    minimum = _meta(name).spec.minimum_size
    size = tuple(length - (index == axis) for index, length in enumerate(minimum))
    given, needed = (" x ".join(map(str, lengths)) for lengths in (size, minimum))
    with pytest.raises(ConfigError, match=f"^clips of {given} .* at least {needed}; use more frames or a larger crop"):
        _meta(name)(_empty(name, size))


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_the_smallest_size_is_what_the_layers_need(name: str) -> None:
    """Without the check, a smaller clip fails in a layer, or in the head."""
    model, minimum = _meta(name), _meta(name).spec.minimum_size
    for axis in range(3):
        size = tuple(length - (index == axis) for index, length in enumerate(minimum))
        with pytest.raises((RuntimeError, ConfigError)):
            model.head(model.stages(model.stem(_empty(name, size))))


@pytest.mark.parametrize(
    ("name", "options", "minimum"),
    [
        ("c3d", {"head": "mean"}, (8, 16, 16)),
        ("c3d", {"head": "mean", "keep_last_plane": True}, (1, 16, 16)),
        ("c3d", {"keep_last_plane": True}, (16, 96, 96)),  # its head needs two planes
        ("i3d", {"head": "mean"}, (1, 1, 1)),
        ("i3d", {"head": "mean", "ttl_depths": ((1, 3), None, (1, 2))}, (5, 21, 21)),
        ("resnet3d_50_ttl", {"keep_last_plane": True}, (1, 29, 29)),
        ("resnet3d_18", {"ttl_depths": (None, (1, 3), None)}, (5, 9, 9)),
        ("inception3d_ttl", {"keep_last_plane": True}, (1, 29, 29)),
        ("t3d_tiny", {"keep_last_plane": True}, (1, 29, 29)),
    ],
)
def test_options_change_the_smallest_size(name: str, options: dict[str, object], minimum: tuple[int, int, int]) -> None:
    with torch.device("meta"):
        model = create_model(name, 7, **options).eval()
    assert model.spec.minimum_size == minimum
    assert model(torch.empty(2, 3, *minimum, device="meta")).shape == (2, 7)
    for axis in range(3):
        if minimum[axis] > 1:
            size = tuple(length - (index == axis) for index, length in enumerate(minimum))
            with pytest.raises((RuntimeError, ConfigError)):
                model.head(model.stages(model.stem(torch.empty(2, 3, *size, device="meta"))))


@pytest.mark.parametrize(
    ("name", "size", "remedies"),
    [
        ("t3d_tiny", (14, 32, 32), ", or --keep-last-plane"),
        ("t3d_tiny", (14, 28, 32), ""),
        ("resnet3d_tiny", (0, 32, 32), ""),
        ("c3d_tiny", (7, 32, 32), ", or --keep-last-plane"),
        ("c3d", (16, 64, 64), ", or --head mean"),
        ("i3d", (64, 112, 112), ", or --head mean"),
    ],
)
def test_only_what_helps_is_recommended(name: str, size: tuple[int, int, int], remedies: str) -> None:
    with pytest.raises(ConfigError, match=f"use more frames or a larger crop{remedies}$"):
        _meta(name)(_empty(name, size))


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_other_channels_a_neck_and_no_classifier(name: str) -> None:
    model, clips = _meta(name), torch.empty(2, 2, *_meta(name).spec.minimum_size, device="meta")
    with pytest.raises(ConfigError, match=r"^clips have 2 channels, but the network was built with 3$"):
        model(clips)
    with torch.device("meta"):
        other = create_model(name, 0, in_channels=2, neck=5).eval()
    assert (other.embed(clips).shape, other(clips).shape) == ((2, model.num_features), (2, 5))
    own, others = ({key: tensor.shape for key, tensor in m.state_dict().items()} for m in (model, other))
    assert set(own) - set(others) == {"classifier.weight", "classifier.bias"}
    assert {key: others[key] for key in set(others) - set(own)} == {
        "neck.weight": (5, model.num_features),
        "neck.bias": (5,),
    }
    assert [key.split(".")[0] for key in own if key in others and own[key] != others[key]] == ["stem"]


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_names_say_the_part(name: str) -> None:
    """What freezing, rates by depth and inflation rely on."""
    parts = list(dict.fromkeys(match[0] if (match := PART.match(key)) else key for key in _meta(name).state_dict()))
    stages = [part for part in parts if part.startswith("stages.")]
    blocks = [part for part in stages if "block" in part]
    assert blocks == [f"stages.block{number}" for number in (1, 2, 3, 4)]
    for number in (1, 2, 3):  # a pool has no weights, and so no name
        transition = f"stages.transition{number}"
        if transition in stages:
            assert stages.index(transition) == stages.index(f"stages.block{number + 1}") - 1
    assert [part for part in parts if part not in stages and part not in ("norm", "head")] == ["stem", "classifier"]
    assert set(dict(_meta(name).stages.named_children())) >= set(name.removeprefix("stages.") for name in stages)


@pytest.mark.parametrize("name", TINY)
def test_without_neck_and_classifier_the_features_come_out(name: str) -> None:
    model, clips = create_model(name, 0, generator=_generator()).eval(), _clips(2, 3, 16, 32, 32)
    assert torch.equal(model(clips), model.embed(clips))


@pytest.mark.parametrize("name", TINY)
def test_a_gradient_reaches_every_parameter(name: str) -> None:
    model = create_model(name, 5, generator=_generator()).train()
    logits = model(_clips(2, 3, 16, 64, 32))
    assert logits.shape == (2, 5)
    assert logits.isfinite().all()
    assert not torch.equal(logits[0], logits[1])
    (logits * _clips(2, 5, seed=1)).sum().backward()
    for parameter_name, parameter in model.named_parameters():
        assert parameter.grad is not None, parameter_name
        assert parameter.grad.isfinite().all(), parameter_name
        assert parameter.grad.any(), parameter_name


@pytest.mark.parametrize("name", TINY)
@pytest.mark.parametrize("size", [(15, 29, 29), (17, 30, 45)])
def test_odd_sizes_give_finite_scores_from_a_map_without_negative_values(name: str, size: tuple[int, int, int]) -> None:
    model = create_model(name, 5, generator=_generator()).eval()
    with torch.no_grad():
        features = model.forward_features(_clips(1, 3, *size))
        assert model(_clips(1, 3, *size)).isfinite().all()
    assert features.min() >= 0
    assert features.max() > 0


@pytest.mark.parametrize("name", TINY)
def test_scores_are_features_through_neck_and_classifier(name: str) -> None:
    model, clips = create_model(name, 5, neck=6, generator=_generator()).double().eval(), _clips(2, 3, 16, 32, 32)
    with torch.no_grad():
        pooled = model.forward_features(clips.double()).flatten(2).mean(dim=2)
        hidden = (pooled @ model.neck.weight.T + model.neck.bias).clamp(min=0)
        scores = hidden @ model.classifier.weight.T + model.classifier.bias
        torch.testing.assert_close(model.embed(clips.double()), pooled)
        torch.testing.assert_close(model(clips.double()), scores)


@pytest.mark.parametrize(("name", "share"), [("c3d_tiny", 0.5), ("inception3d_tiny", 0.25), ("resnet3d_tiny", 0.75)])
def test_dropout_acts_on_what_the_classifier_sees(name: str, share: float) -> None:
    model = create_model(name, 0, dropout=share, generator=_generator()).eval()
    clips = _clips(64, 3, 8, 32, 32)
    with torch.no_grad(), torch.random.fork_rng():
        features = model.embed(clips)
        assert torch.equal(model(clips), features)
        torch.manual_seed(0)
        model.dropout.train()
        dropped = model(clips)
        assert torch.equal(model.embed(clips), features)
    kept = dropped != 0
    assert kept[features != 0].float().mean().item() == pytest.approx(1 - share, abs=0.04)  # of thousands
    torch.testing.assert_close(dropped[kept], features[kept] / (1 - share))


def test_the_published_dropouts() -> None:
    shares = {name: {m.p for m in _meta(name).modules() if isinstance(m, nn.Dropout) and m.p} for name in ARCHITECTURES}
    assert {name for name, share in shares.items() if share} == {"c3d", "i3d"}
    assert shares["c3d"] == shares["i3d"] == {0.5}


def _layers(model: Network) -> dict[str, nn.Conv3d | nn.Linear]:
    """All that is drawn but the classifier."""
    kinds = nn.Conv3d | nn.Linear
    return {name: m for name, m in model.named_modules() if isinstance(m, kinds) and name != "classifier"}


@pytest.mark.parametrize("name", [*TINY, *SHORT])
def test_initial_values(name: str) -> None:
    """Variance 2 / fan-in, within five standard errors of the deviation of so many draws."""
    model = create_model(name, 5000, neck=40, generator=_generator(), **SHORT.get(name, {}))
    layers = _layers(model)
    for key, layer in [*layers.items(), ("classifier", model.classifier)]:
        weight = layer.weight
        expected = 0.01 if key == "classifier" else math.sqrt(2 / weight[0].numel())
        error = 5 / math.sqrt(2 * weight.numel())
        assert weight.std().item() == pytest.approx(expected, rel=max(error, 1e-9)), key
        assert abs(weight.mean().item()) < 5 * expected / math.sqrt(weight.numel()), key
        assert layer.bias is None or not layer.bias.any(), key
    for module in model.modules():
        if isinstance(module, nn.BatchNorm3d):
            assert (module.weight == 1).all()
            assert not module.bias.any()


@pytest.mark.parametrize("name", [*TINY, *SHORT])
def test_a_generator_decides_the_initial_weights(name: str) -> None:
    options = {"neck": 4, **SHORT.get(name, {})}
    with torch.random.fork_rng():
        states = []
        for seed, other in ((3, 0), (3, 1), (4, 1)):
            torch.manual_seed(other)  # PyTorch's own must not matter
            states.append(create_model(name, 5, generator=_generator(seed), **options).state_dict())
    first, again, other = states
    assert all(torch.equal(first[key], again[key]) for key in first)
    drawn = [key for key, tensor in first.items() if tensor.ndim >= 2]
    assert not [key for key in drawn if torch.equal(first[key], other[key])]


def test_initialising_again_forgets_what_was_learnt() -> None:
    model = create_model("t3d_tiny", 5, neck=4, generator=_generator())
    before = {key: tensor.clone() for key, tensor in model.state_dict().items()}
    with torch.no_grad():
        for tensor in model.state_dict().values():
            tensor.fill_(3)
    model.initialise(_generator())
    assert all(torch.equal(tensor, before[key]) for key, tensor in model.state_dict().items())


@pytest.mark.parametrize("name", [*TINY, "c3d", "i3d", "r3d_18"])
def test_options_are_of_their_family(name: str) -> None:
    assert isinstance(_meta(name).spec, Spec)
    assert type(_meta(name).spec) in (C3DSpec, DenseNetSpec, InceptionSpec, ResNetSpec)


def test_a_network_is_what_its_spec_builds(monkeypatch: pytest.MonkeyPatch) -> None:
    spec = ResNetSpec(blocks=(1,), ttl_depths=())
    stages = nn.Sequential()
    stages.add_module("block1", nn.Conv3d(4, 6, 3, padding=1))
    trunk = Trunk(stem=nn.Conv3d(3, 4, 1), stages=stages, num_features=6, norm=nn.BatchNorm3d(6))
    monkeypatch.setattr(ResNetSpec, "build", lambda spec: trunk)
    model = Network(spec, num_classes=2, generator=_generator()).eval()
    clips = _clips(1, 3, 4, 8, 8)
    last = model.forward_features(clips)
    torch.testing.assert_close(last, F.relu(trunk.norm(stages(trunk.stem(clips)))))
    assert not model.stem.bias.any()
    assert model(clips).shape == (1, 2)
