import pytest
import torch
import torch.nn.functional as F
from outlines import num_parameters, outline, shapes, sizes, temporal_transition
from torch import Tensor, nn

from t3d.errors import ConfigError
from t3d.models import ResNetSpec, create_model
from t3d.models.resnet3d import ResidualBlock

DEPTHS = ((1, 3, 6), (1, 3, 4), (1, 3, 4))
RECORDED = {  # of the published networks: parameters and classes
    "resnet3d_18": (33_563_004, 700),
    "resnet3d_34": (63_872_636, 700),
    "resnet3d_50": (47_633_276, 700),
    "r3d_18": (33_371_472, 400),
}


def _basic(channels: int, width: int, *, shortcut: bool) -> int:
    norms = 2 * 2 * width + shortcut * 2 * width
    return 27 * channels * width + 27 * width * width + shortcut * channels * width + norms


def _bottleneck(channels: int, width: int, *, shortcut: bool) -> int:
    convs = channels * width + 27 * width * width + width * 4 * width + shortcut * channels * 4 * width
    return convs + 2 * width + 2 * width + 2 * 4 * width + shortcut * 2 * 4 * width


def _closed_form(
    blocks: tuple[int, ...], *, bottleneck: bool, temporal: bool, width: int = 64, stem: int = 7 * 7 * 7
) -> int:
    count, channels, growth = 3 * width * stem + 2 * width, width, 4 if bottleneck else 1
    for index, num_blocks in enumerate(blocks):
        if temporal and index:
            count += temporal_transition(channels, DEPTHS[index - 1])
        inner = width * 2**index
        for _ in range(num_blocks):
            shortcut = channels != inner * growth
            count += (_bottleneck if bottleneck else _basic)(channels, inner, shortcut=shortcut)
            channels = inner * growth
    return count + 400 * channels + 400


@pytest.mark.parametrize(
    ("name", "blocks", "options"),
    [
        ("resnet3d_10", (1, 1, 1, 1), {}),
        ("resnet3d_18", (2, 2, 2, 2), {}),
        ("resnet3d_34", (3, 4, 6, 3), {}),
        ("resnet3d_38", (3, 4, 8, 3), {}),
        ("resnet3d_50", (3, 4, 6, 3), {"bottleneck": True}),
        ("resnet3d_50_ttl", (3, 4, 6, 3), {"bottleneck": True, "temporal": True}),
        ("resnet3d_101", (3, 4, 23, 3), {"bottleneck": True}),
        ("r3d_18", (2, 2, 2, 2), {"stem": 3 * 7 * 7}),
        ("resnet3d_tiny", (1, 1, 1, 1), {"width": 12}),
        ("resnet3d_tiny_ttl", (1, 1, 1, 1), {"width": 11, "temporal": True}),
    ],
)
def test_parameters_match_closed_form(name: str, blocks: tuple[int, ...], options: dict[str, int]) -> None:
    expected = _closed_form(blocks, **{"bottleneck": False, "temporal": False, **options})
    assert num_parameters(outline(name)) == expected


@pytest.mark.parametrize("name", RECORDED)
def test_parameters_match_the_published_networks(name: str) -> None:
    count, num_classes = RECORDED[name]
    assert num_parameters(outline(name, num_classes)) == count


@pytest.mark.parametrize(("name", "layers"), [("10", 10), ("18", 18), ("34", 34), ("38", 38), ("50", 50), ("101", 101)])
def test_the_number_in_the_name_counts_layers(name: str, layers: int) -> None:
    """Convolutions of the stem and the blocks, and the classifier; shortcuts are not counted."""
    modules = outline(f"resnet3d_{name}").named_modules()
    convs = [key for key, module in modules if isinstance(module, nn.Conv3d) and "shortcut" not in key]
    assert len(convs) + 1 == layers


@pytest.mark.parametrize(("name", "growth"), [("resnet3d_18", 1), ("resnet3d_34", 1), ("resnet3d_50", 4)])
def test_sizes_stage_by_stage(name: str, growth: int) -> None:
    assert sizes(outline(name), 16, 112, 112) == {
        "stem": (64, 8, 28, 28),
        "block1": (64 * growth, 8, 28, 28),
        "block2": (128 * growth, 4, 14, 14),
        "block3": (256 * growth, 2, 7, 7),
        "block4": (512 * growth, 1, 4, 4),
    }


def test_sizes_of_r3d_18() -> None:
    assert sizes(outline("r3d_18"), 16, 112, 112) == {
        "stem": (64, 16, 56, 56),
        "block1": (64, 16, 56, 56),
        "block2": (128, 8, 28, 28),
        "block3": (256, 4, 14, 14),
        "block4": (512, 2, 7, 7),
    }


def test_sizes_with_transitions() -> None:
    assert sizes(outline("resnet3d_50_ttl"), 16, 112, 112) == {
        "stem": (64, 8, 28, 28),
        "block1": (256, 8, 28, 28),
        "transition1": (256, 4, 14, 14),
        "block2": (512, 4, 14, 14),
        "transition2": (512, 2, 7, 7),
        "block3": (1024, 2, 7, 7),
        "transition3": (1024, 1, 3, 3),
        "block4": (2048, 1, 3, 3),
    }


def test_all_other_weights_keep_their_shapes_with_transitions() -> None:
    assert shapes(outline("resnet3d_50_ttl"), but="transition") == shapes(outline("resnet3d_50"))


def test_only_the_shortcuts_of_new_sizes_have_weights() -> None:
    for name, first in (("resnet3d_34", False), ("resnet3d_50", True)):
        model = outline(name)
        for number, stage in enumerate(model.stages, start=1):
            has = [any(True for _ in block.shortcut.parameters()) for block in stage]
            assert has == [number > 1 or first] + [False] * (len(stage) - 1)


def _filled(block: ResidualBlock) -> ResidualBlock:
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for name, tensor in block.double().eval().state_dict().items():
            if tensor.is_floating_point():
                tensor.normal_(generator=generator)
                if name.endswith("running_var"):
                    tensor.abs_().add_(0.5)
    return block


def _conv_norm(features: Tensor, tensors: dict[str, Tensor], name: str, **conv: object) -> Tensor:
    norm = {leaf: tensors[f"{name}.norm.{leaf}"] for leaf in ("running_mean", "running_var", "weight", "bias")}
    return F.batch_norm(F.conv3d(features, tensors[f"{name}.conv.weight"], **conv), **norm)


@pytest.mark.parametrize("stride", [(1, 1, 1), (2, 2, 2), (1, 2, 2)])
@pytest.mark.parametrize("channels", [3, 8])
def test_a_bottleneck_by_hand(stride: tuple[int, int, int], channels: int) -> None:
    """1x1x1 to the width, 3x3x3 with the stride, 1x1x1 to four times the width, then the shortcut, then ReLU."""
    block = _filled(ResidualBlock(channels, 2, stride=stride, bottleneck=True, time_kernel=3))
    features = torch.randn(2, channels, 4, 5, 6, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    tensors = block.state_dict()
    inner = _conv_norm(features, tensors, "layers.0").clamp(min=0)
    inner = _conv_norm(inner, tensors, "layers.1", stride=stride, padding=1).clamp(min=0)
    inner = _conv_norm(inner, tensors, "layers.2")
    identity = channels == 8 and stride == (1, 1, 1)
    shortcut = features if identity else _conv_norm(features, tensors, "shortcut", stride=stride)
    torch.testing.assert_close(block(features), (inner + shortcut).clamp(min=0))
    assert block.out_channels == 8


@pytest.mark.parametrize("stride", [(1, 1, 1), (2, 2, 2)])
@pytest.mark.parametrize("channels", [3, 4])
def test_a_basic_block_by_hand(stride: tuple[int, int, int], channels: int) -> None:
    block = _filled(ResidualBlock(channels, 4, stride=stride, bottleneck=False, time_kernel=3))
    features = torch.randn(2, channels, 4, 5, 6, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    tensors = block.state_dict()
    inner = _conv_norm(features, tensors, "layers.0", stride=stride, padding=1).clamp(min=0)
    inner = _conv_norm(inner, tensors, "layers.1", padding=1)
    identity = channels == 4 and stride == (1, 1, 1)
    shortcut = features if identity else _conv_norm(features, tensors, "shortcut", stride=stride)
    torch.testing.assert_close(block(features), (inner + shortcut).clamp(min=0))


def test_the_stem_by_hand() -> None:
    model = create_model("resnet3d_tiny", 5).double().eval()
    clips = torch.randn(1, 3, 5, 9, 8, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    tensors = {f"stem.{name}": tensor for name, tensor in model.stem.state_dict().items()}
    seen = _conv_norm(clips, tensors, "stem.0", stride=(1, 2, 2), padding=3).clamp(min=0)
    torch.testing.assert_close(model.stem(clips), F.max_pool3d(seen, 3, stride=2, padding=1))


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"blocks": (2, 0, 2, 2)}, r"blocks \(2, 0, 2, 2\) must be at least 1"),
        ({"blocks": ()}, r"blocks \(\) must be at least 1"),
        ({"width": 0}, "width 0 must be at least 1"),
        ({"stem_kernel": (7, 7, 6)}, r"stem_kernel \(7, 7, 6\) must be odd"),
        ({"time_kernel": -1}, "time_kernel -1 must be at least 1"),
        ({"stem_stride": (1, 0, 2)}, r"stem_stride \(1, 0, 2\) must be at least 1"),
        ({"stem_pool_stride": (1, 0, 2)}, r"stem_pool_stride \(1, 0, 2\) must be at least 1"),
        ({"time_stride": 0}, "time_stride 0 must be at least 1"),
        ({"ttl_depths": ((1, 3),)}, r"ttl_depths \(\(1, 3\),\) must have 3 entries"),
        ({"neck": -1}, "neck -1 must be at least 0"),
        ({"dropout": 1.0}, "dropout 1.0 must be at least 0 and below 1"),
    ],
)
def test_what_makes_no_sense_is_refused_by_name(options: dict[str, object], says: str) -> None:
    with pytest.raises(ConfigError, match=f"^{says}"):
        ResNetSpec(**options)
