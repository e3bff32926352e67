import json
from typing import Literal

import pytest
import torch
from torch import Tensor, nn

from t3d.errors import CheckpointError, ConfigError
from t3d.models import ARCHITECTURES, Network, create_model
from t3d.models.layers import MaxPoolSame
from t3d.models.pretrained.inflation import inflate, twin_overrides
from t3d.models.t3d import TransitionPool

TINY = ("densenet3d_tiny", "t3d_tiny")
EVERY_TINY = [name for name in ARCHITECTURES if "tiny" in name]
SMALL_I3D: dict[str, object] = {"entry": (4, 4, 6), "mixed": tuple(((3, 2, 3, 2, 2, 2),) for _ in range(3))}
"""Pads by the clip's size, and has even pools."""
MICRO: dict[str, object] = {"blocks": (2, 1, 1, 1), "growth_rate": 4, "stem_channels": 4, "ttl_width": 4, "neck": 5}
How = Literal["centre", "repeat"]


def _generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def _twin(name: str, num_classes: int = 5, **overrides: object) -> Network:
    """The 2D twin in float64, every tensor with values of its own."""
    twin = create_model(name, num_classes, generator=_generator(), **twin_overrides(name, **overrides)).double().eval()
    generator = _generator(1)
    with torch.no_grad():
        for module in twin.modules():
            if isinstance(module, nn.BatchNorm3d):
                module.weight.normal_(1, 0.1, generator=generator)
                module.bias.normal_(0, 0.1, generator=generator)
                module.running_mean.normal_(0, 0.1, generator=generator)
                module.running_var.uniform_(0.5, 1.5, generator=generator)
                module.num_batches_tracked.fill_(7)
    return twin


def _student(name: str, num_classes: int = 5, **overrides: object) -> Network:
    return create_model(name, num_classes, generator=_generator(2), **overrides).double().eval()


def _meta(name: str, num_classes: int = 400, **overrides: object) -> Network:
    with torch.device("meta"):
        return create_model(name, num_classes, **overrides)


def _pictures(size: int = 32) -> Tensor:
    return torch.randn(1, 3, 1, size, size, generator=_generator(3), dtype=torch.float64)


@torch.no_grad()
def _difference(model: Network, twin: Network, num_frames: int, *, size: int = 32) -> float:
    """L2 of what a still video changes in the features, relative to the twin's."""
    pictures = _pictures(size)
    flat, still = twin.embed(pictures), model.embed(pictures.expand(-1, -1, num_frames, -1, -1))
    return ((still - flat).norm() / flat.norm()).item()


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_the_twin_has_the_same_tensors_but_for_the_time_of_kernels(name: str) -> None:
    head = {"head": "mean"} if name == "c3d" else {}  # its published one joins frames, which the twin does not have
    solid, flat = (_meta(name, **overrides).state_dict() for overrides in (head, twin_overrides(name)))
    assert list(solid) == list(flat)
    for key, tensor in solid.items():
        flattened = (*tensor.shape[:2], 1, *tensor.shape[3:]) if tensor.ndim == 5 else tuple(tensor.shape)
        assert tuple(flat[key].shape) == flattened, key


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_nothing_in_the_twin_reaches_another_frame(name: str) -> None:
    for module in _meta(name, **twin_overrides(name)).modules():
        if isinstance(module, nn.Conv3d | nn.MaxPool3d):
            assert (module.kernel_size[0], module.stride[0], module.padding[0]) == (1, 1, 0)
        elif isinstance(module, MaxPoolSame):
            assert (module.kernel[0], module.stride[0]) == (1, 1)
        elif isinstance(module, TransitionPool):
            assert module.time_stride == 1


@pytest.mark.parametrize("name", EVERY_TINY)
def test_the_twin_of_a_clip_averages_what_it_sees_in_each_frame(name: str) -> None:
    twin = _twin(name)
    clips = torch.randn(2, 3, 5, 32, 32, generator=_generator(), dtype=torch.float64)
    with torch.no_grad():
        frames = torch.stack([twin.embed(clips[:, :, index : index + 1]) for index in range(5)])
        torch.testing.assert_close(twin.embed(clips), frames.mean(dim=0), rtol=0, atol=1e-12)


def test_twin_overrides_keep_what_was_given_and_survive_json() -> None:
    given = {"growth_rate": 8, "stem_kernel": [5, 5, 7], "stem_pool_stride": (2, 2, 2), "ttl_width": 6, "neck": 9}
    written = json.loads(json.dumps(twin_overrides("t3d_tiny", **given)))
    assert written == {
        "growth_rate": 8,
        "ttl_width": 6,
        "neck": 9,
        "stem_kernel": [1, 5, 7],
        "stem_stride": [1, 2, 2],
        "stem_pool_kernel": [1, 3, 3],
        "stem_pool_stride": [1, 2, 2],
        "dense_time_kernel": 1,
        "transition_time_stride": 1,
        "ttl_flat": True,
    }
    assert _meta("t3d_tiny", **written).stem.conv.kernel_size == (1, 5, 7)


def test_twins_of_unknown_networks_are_refused() -> None:
    with pytest.raises(ConfigError, match="unknown arch 't4d'"):
        twin_overrides("t4d")
    with pytest.raises(ConfigError, match="unknown option 'widht'"):
        twin_overrides("t3d_tiny", widht=3)


@pytest.mark.parametrize("name", TINY)
@pytest.mark.parametrize("num_frames", [15, 16, 23])
@pytest.mark.parametrize(("how", "replicate_time"), [("centre", False), ("centre", True), ("repeat", True)])
def test_a_still_video_gives_the_features_of_the_twin(
    name: str, num_frames: int, how: How, replicate_time: bool
) -> None:
    twin, model = _twin(name), _student(name, replicate_time=replicate_time)
    assert inflate(model, twin.state_dict(), how=how).fresh == ()
    assert _difference(model, twin, num_frames) < 1e-12


@pytest.mark.parametrize(
    ("name", "options"),
    [
        *((name, {}) for name in EVERY_TINY if name not in TINY),
        ("c3d_tiny", {"ttl_depths": ((1, 3, 6), None, (1, 2)), "widths": ((3,), (4,), (5, 6), (7, 8), (9, 5))}),
        ("r3d_18", {"width": 4}),
        ("resnet3d_50_ttl", {"width": 4, "time_kernel": 5}),
        ("i3d", {**SMALL_I3D, "head": "mean"}),
        ("i3d", {**SMALL_I3D, "head": "mean", "ttl_depths": (None, (1, 3, 4), None)}),
    ],
)
@pytest.mark.parametrize("num_frames", [15, 16, 23])
def test_a_still_video_gives_the_features_of_the_twin_in_every_family(
    name: str, options: dict[str, object], num_frames: int
) -> None:
    twin, model = _twin(name, **options), _student(name, **options)
    assert inflate(model, twin.state_dict(), how="centre").fresh == ()
    assert _difference(model, twin, num_frames) < 1e-12


def test_the_twin_of_c3d_fills_all_but_the_head_that_joins_frames() -> None:
    small: dict[str, object] = {"widths": ((3,), (4,), (5, 6), (6, 7), (7, 5)), "fc_width": 8}
    twin, model = _twin("c3d", **small), _student("c3d", **small)
    inflation = inflate(model, twin.state_dict(), how="centre")
    assert {name.split(".")[0] for name in inflation.copied} == {"stem", "stages"}
    assert {name.split(".")[0] for name in inflation.fresh} == {"head", "classifier"}


@pytest.mark.parametrize("how", ["centre", "repeat"])
@pytest.mark.parametrize(
    "options",
    [
        {"keep_last_plane": True},
        {"ttl_compress": True, "dense_time_kernel": 5, "stem_kernel": (5, 3, 7)},
        {"stem_pool_stride": (2, 2, 2), "keep_last_plane": True},
        {"ttl_depths": ((2, 5), (1,), None)},
    ],
)
def test_it_holds_for_other_literals_and_in_the_scores(how: How, options: dict[str, object]) -> None:
    both = {**MICRO, **options}
    twin, model = _twin("t3d_tiny", **both), _student("t3d_tiny", replicate_time=True, **both)
    inflate(model, twin.state_dict(), how=how)
    pictures = _pictures()
    with torch.no_grad():
        still = model(pictures.expand(-1, -1, 17, -1, -1))
        torch.testing.assert_close(still, twin(pictures), rtol=0, atol=1e-12)


@pytest.mark.parametrize(
    ("name", "num_frames", "difference"),  # the figures of docs/decisions/0007-inflation.md
    [
        ("t3d_tiny", 16, 0.65),
        ("t3d_tiny", 32, 0.38),
        ("t3d_tiny", 64, 0.20),
        ("densenet3d_tiny", 16, 0.45),
        ("densenet3d_tiny", 32, 0.24),
        ("densenet3d_tiny", 64, 0.12),
        ("t3d_121", 32, 0.41),
        ("c3d_tiny", 32, 0.32),  # those of docs/decisions/0011-other-families.md
        ("resnet3d_tiny", 32, 0.29),
        ("resnet3d_tiny_ttl", 32, 0.35),
        ("inception3d_tiny", 32, 0.20),
        ("inception3d_tiny_ttl", 32, 0.38),
    ],
)
def test_repeated_kernels_differ_where_zeros_lie_beyond_the_ends(name: str, num_frames: int, difference: float) -> None:
    twin, model = _twin(name), _student(name)
    inflate(model, twin.state_dict(), how="repeat")
    assert _difference(model, twin, num_frames, size=64) == pytest.approx(difference, abs=0.02)


def test_kernels_by_hand() -> None:
    twin = _twin("t3d_tiny")
    first = twin.stages.transition1.branches[2].conv.weight[:, :, 0]  # depth 6
    for how, planes in (("centre", [0, 0, 1, 0, 0, 0]), ("repeat", [1 / 6] * 6)):
        model = _student("t3d_tiny")
        inflate(model, twin.state_dict(), how=how)
        kernel = model.stages.transition1.branches[2].conv.weight
        for plane, factor in enumerate(planes):
            torch.testing.assert_close(kernel[:, :, plane], first * factor)
        assert (model.stem.norm.num_batches_tracked, model.stem.norm.running_mean[0]) == (
            7,
            twin.stem.norm.running_mean[0],
        )


def test_kernels_that_already_have_their_depth_are_copied() -> None:
    solid, model = _student("t3d_tiny"), create_model("t3d_tiny", 5)
    assert inflate(model, solid.state_dict(), how="repeat").fresh == ()
    torch.testing.assert_close(model.stem.conv.weight, solid.stem.conv.weight.float(), rtol=0, atol=0)


def test_other_classes_leave_the_classifier_alone() -> None:
    twin, model = _twin("densenet3d_tiny", num_classes=9), _student("densenet3d_tiny")
    before = model.classifier.weight.clone()
    assert inflate(model, twin.state_dict(), how="centre").fresh == ("classifier.weight", "classifier.bias")
    assert torch.equal(model.classifier.weight, before)
    assert torch.equal(model.norm.weight, twin.norm.weight)


def test_densenet_weights_reach_the_first_transition_of_a_t3d() -> None:
    flat = _meta("densenet3d_121", 1000, **twin_overrides("densenet3d_121")).state_dict()
    assert inflate(_meta("densenet3d_121"), flat, how="centre").fresh == ("classifier.weight", "classifier.bias")
    inflation = inflate(_meta("t3d_121"), flat, how="centre")
    assert {name.split(".layer")[0].split(".conv")[0].split(".norm")[0] for name in inflation.copied} == {
        "stem",
        "stages.block1",
    }
    assert inflation.fresh[0].startswith("stages.transition1.")
    assert [*inflation.copied, *inflation.fresh] == list(_meta("t3d_121").state_dict())


@pytest.mark.parametrize("spoil", ["missing", "left over", "other shape"])
def test_nothing_is_copied_behind_a_part_that_does_not_fit_whole(spoil: str) -> None:
    flat, model = _twin("t3d_tiny").state_dict(), _student("t3d_tiny")
    name = "stages.block2.layer2.grow.conv.weight"
    if spoil == "missing":
        del flat[name]
    elif spoil == "left over":
        flat["stages.block2.layer4.grow.conv.weight"] = flat[name]
    else:
        flat[name] = flat[name][1:]
    before = {key: tensor.clone() for key, tensor in model.state_dict().items()}
    inflation = inflate(model, flat, how="centre")
    assert inflation.copied[-1].startswith("stages.transition1.")
    assert inflation.fresh[0].startswith("stages.block2.layer1.")
    assert all(torch.equal(model.state_dict()[key], before[key]) for key in inflation.fresh)
    assert torch.equal(model.stages.block1.layer1.squeeze.conv.weight, flat["stages.block1.layer1.squeeze.conv.weight"])


def test_a_neck_of_its_own_keeps_the_classifier_random() -> None:
    flat = _twin("t3d_tiny", **{**MICRO, "neck": 0}).state_dict()
    inflation = inflate(_student("t3d_tiny", **MICRO), flat, how="centre")
    assert inflation.fresh == ("neck.weight", "neck.bias", "classifier.weight", "classifier.bias")


def test_a_network_without_classifier_takes_the_rest() -> None:
    flat = _twin("t3d_tiny", **MICRO).state_dict()
    inflation = inflate(_student("t3d_tiny", 0, **MICRO), flat, how="centre")
    assert (inflation.fresh, inflation.copied[-1]) == ((), "neck.bias")


def test_weights_without_counters_are_whole() -> None:
    flat = {key: tensor for key, tensor in _twin("t3d_tiny").state_dict().items() if not key.endswith("tracked")}
    model = _student("t3d_tiny")
    assert inflate(model, flat, how="centre").fresh == ()
    assert not model.norm.num_batches_tracked


def test_weights_whose_stem_does_not_fit_are_refused() -> None:
    flat, model = _twin("t3d_tiny", stem_channels=16).state_dict(), _student("t3d_tiny")
    before = model.stem.conv.weight.clone()
    sizes = "16 x 3 x 1 x 7 x 7 in the 2D weights, but 24 x 3 x 3 x 7 x 7 in the network"
    for weights, reason in ((flat, f"is {sizes}"), ({}, "is not among the 2D weights")):
        with pytest.raises(CheckpointError, match=f"^'stem.conv.weight' {reason}; take the weights of the 2D twin"):
            inflate(model, weights, how="centre")
    assert torch.equal(model.stem.conv.weight, before)


def test_unknown_ways_are_refused(pytestconfig: pytest.Config) -> None:
    if pytestconfig.getoption("jaxtyping_packages", default=None):
        pytest.skip("the run-time checks of annotations refuse it first")
    with pytest.raises(ConfigError, match="how 'center' must be centre or repeat"):
        inflate(_meta("t3d_tiny"), {}, how="center")  # type: ignore[arg-type]
