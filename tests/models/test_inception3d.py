import pytest
import torch
import torch.nn.functional as F
from outlines import num_parameters, outline, shapes, sizes, temporal_transition
from torch import Tensor

from t3d.errors import ConfigError
from t3d.models import InceptionSpec, create_model
from t3d.models.inception3d import Mixed

DEPTHS = ((1, 3, 6), (1, 3, 4), (1, 3, 4))
TABLE = {  # Szegedy et al. 2015, Table 1: in, 1x1, 3x3 reduce, 3x3, 5x5 reduce, 5x5, pool
    "3a": (192, 64, 96, 128, 16, 32, 32),
    "3b": (256, 128, 128, 192, 32, 96, 64),
    "4a": (480, 192, 96, 208, 16, 48, 64),
    "4b": (512, 160, 112, 224, 24, 64, 64),
    "4c": (512, 128, 128, 256, 24, 64, 64),
    "4d": (512, 112, 144, 288, 32, 64, 64),
    "4e": (528, 256, 160, 320, 32, 128, 128),
    "5a": (832, 256, 160, 320, 32, 128, 128),
    "5b": (832, 384, 192, 384, 48, 128, 128),
}
TEMPORAL = {"3a": 192, "4a": 480, "5a": 832}
"""The module a transition stands before, and its channels."""


def _unit(before: int, after: int, kernel: int) -> int:
    return before * after * kernel**3 + 2 * after


def _closed_form(*, wide: int, temporal: bool = False) -> int:
    count = _unit(3, 64, 7) + _unit(64, 64, 1) + _unit(64, 192, 3)
    for before, one, reduce_3, three, reduce_5, five, pool in TABLE.values():
        count += _unit(before, one, 1) + _unit(before, reduce_3, 1) + _unit(reduce_3, three, 3)
        count += _unit(before, reduce_5, 1) + _unit(reduce_5, five, wide) + _unit(before, pool, 1)
    if temporal:
        count += sum(temporal_transition(c, depths) for c, depths in zip(TEMPORAL.values(), DEPTHS, strict=True))
    return count + 400 * 1024 + 400


@pytest.mark.parametrize(
    ("name", "options"),
    [("inception3d", {"wide": 5}), ("inception3d_ttl", {"wide": 5, "temporal": True}), ("i3d", {"wide": 3})],
)
def test_parameters_match_closed_form(name: str, options: dict[str, int]) -> None:
    assert num_parameters(outline(name)) == _closed_form(**options)


def test_parameters_match_the_published_network() -> None:
    assert num_parameters(outline("i3d")) == 12_697_264


def test_sizes_of_i3d_stage_by_stage() -> None:
    assert sizes(outline("i3d"), 16, 224, 224) == {
        "stem": (64, 8, 56, 56),
        "block1": (192, 8, 56, 56),
        "transition1": (192, 8, 28, 28),
        "block2": (480, 8, 28, 28),
        "transition2": (480, 4, 14, 14),
        "block3": (832, 4, 14, 14),
        "transition3": (832, 2, 7, 7),
        "block4": (1024, 2, 7, 7),
    }
    assert sizes(outline("i3d"), 9, 193, 193)["block4"] == (1024, 2, 7, 7)


@pytest.mark.parametrize("name", ["inception3d", "inception3d_ttl"])
def test_sizes_of_inception3d_stage_by_stage(name: str) -> None:
    """Each of the five pools and strides of the 2D network halves time, too."""
    assert sizes(outline(name), 32, 224, 224) == {
        "stem": (64, 8, 56, 56),
        "block1": (192, 8, 56, 56),
        "transition1": (192, 4, 28, 28),
        "block2": (480, 4, 28, 28),
        "transition2": (480, 2, 14, 14),
        "block3": (832, 2, 14, 14),
        "transition3": (832, 1, 7, 7),
        "block4": (1024, 1, 7, 7),
    }


def test_every_module_has_the_published_widths() -> None:
    stages = outline("inception3d").stages
    modules = [*stages.block2, *stages.block3, *stages.block4]
    for module, (before, one, reduce_3, three, reduce_5, five, pool) in zip(modules, TABLE.values(), strict=True):
        convs = [
            (module.point.conv, before, one, 1),
            (module.three[0].conv, before, reduce_3, 1),
            (module.three[1].conv, reduce_3, three, 3),
            (module.wide[0].conv, before, reduce_5, 1),
            (module.wide[1].conv, reduce_5, five, 5),
            (module.pooled[1].conv, before, pool, 1),
        ]
        for conv, in_channels, out_channels, kernel in convs:
            assert conv.weight.shape == (out_channels, in_channels, kernel, kernel, kernel)


@pytest.mark.parametrize("options", [{}, {"ttl_depths": (None, (1, 3), None)}, {"ttl_depths": DEPTHS}])
def test_all_other_weights_keep_their_shapes_with_transitions(options: dict[str, object]) -> None:
    with_transitions = outline("inception3d", **options)
    assert shapes(with_transitions, but="transition") == shapes(outline("inception3d"))


def _filled(module: Mixed) -> Mixed:
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for name, tensor in module.double().eval().state_dict().items():
            if tensor.is_floating_point():
                tensor.normal_(generator=generator)
                if name.endswith("running_var"):
                    tensor.abs_().add_(0.5)
    return module


@pytest.mark.parametrize("same", [False, True])
@pytest.mark.parametrize("wide_kernel", [3, 5])
def test_a_mixed_module_by_hand(wide_kernel: int, same: bool) -> None:
    """Four branches, in the order of the published widths; odd kernels of stride 1 are padded alike either way."""
    spec = InceptionSpec(wide_kernel=wide_kernel, same=same, norm_eps=0.25)
    module = _filled(Mixed(3, (2, 4, 3, 2, 5, 1), spec))
    features = torch.rand(2, 3, 4, 5, 6, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    tensors = module.state_dict()

    def unit(given: Tensor, name: str) -> Tensor:
        kernel = tensors[f"{name}.conv.weight"]
        norm = {leaf: tensors[f"{name}.norm.{leaf}"] for leaf in ("running_mean", "running_var", "weight", "bias")}
        seen = F.conv3d(given, kernel, padding=kernel.shape[-1] // 2)
        return F.batch_norm(seen, **norm, eps=0.25).clamp(min=0)

    pooled = F.max_pool3d(features, 3, stride=1, padding=1)
    branches = [
        unit(features, "point"),
        unit(unit(features, "three.0"), "three.1"),
        unit(unit(features, "wide.0"), "wide.1"),
        unit(pooled, "pooled.1"),
    ]
    torch.testing.assert_close(module(features), torch.cat(branches, dim=1))
    assert module.out_channels == 2 + 3 + 5 + 1
    assert tensors["wide.1.conv.weight"].shape[2:] == (wide_kernel,) * 3


def test_norms_are_as_told() -> None:
    norms = {(m.eps, m.momentum) for m in outline("i3d").modules() if isinstance(m, torch.nn.BatchNorm3d)}
    assert norms == {(1e-3, 0.01)}


def test_the_published_head_and_the_mean() -> None:
    options = {"entry": (4, 4, 6), "mixed": tuple(((3, 2, 3, 2, 2, 2),) for _ in range(3))}
    published, mean = (
        create_model("i3d", 5, generator=torch.Generator().manual_seed(0), **options, **head).eval()
        for head in ({}, {"head": "mean"})
    )
    clips = torch.randn(1, 3, 17, 193, 193, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        features = published.forward_features(clips)
        assert features.shape[2:] == (3, 7, 7)
        assert torch.equal(mean.forward_features(clips), features)
        planes = features.mean(dim=(3, 4))
        expected = (planes[..., 0] + 2 * planes[..., 1] + planes[..., 2]) / 4
        torch.testing.assert_close(published.embed(clips), expected)
        torch.testing.assert_close(mean.embed(clips), planes.mean(dim=2))


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"entry": (64, 0, 192)}, r"entry \(64, 0, 192\) must be at least 1"),
        ({"wide_kernel": 4}, "wide_kernel 4 must be odd"),
        ({"stem_kernel": (7, 6, 7)}, r"stem_kernel \(7, 6, 7\) must be odd"),
        ({"stem_stride": (0, 2, 2)}, r"stem_stride \(0, 2, 2\) must be at least 1"),
        ({"mixed": (((1, 1, 1, 1, 1, 0),),) * 3}, "mixed .* must hold widths of at least 1"),
        ({"mixed": ((), (), ())}, "mixed .* must hold widths of at least 1"),
        ({"pool_kernels": ((3, 3, 3),)}, "pool_kernels .* must hold 4 sizes of at least 1"),
        ({"pool_strides": ((2, 2, 2),) * 3 + ((2, 0, 2),)}, "pool_strides .* must hold 4 sizes of at least 1"),
        ({"pool_kernels": ((3, 3, 3),) * 3 + ((2, 2, 2),)}, "pool_kernels .* must be odd, unless `same` pads them"),
        ({"norm_eps": 0.0}, "norm_eps 0.0 must be above 0"),
        ({"norm_momentum": 1.5}, "norm_eps .* norm_momentum 1.5 up to 1"),
        ({"head": "max"}, "head 'max' must be mean or sliding"),
        ({"ttl_depths": (None, None)}, "ttl_depths .* must have 3 entries"),
        ({"neck": -1}, "neck -1 must be at least 0"),
        ({"dropout": 1.0}, "dropout 1.0 must be at least 0 and below 1"),
    ],
)
def test_what_makes_no_sense_is_refused_by_name(options: dict[str, object], says: str) -> None:
    with pytest.raises(ConfigError, match=f"^{says}") as caught:
        InceptionSpec(**options)
    assert "\n" not in str(caught.value)
