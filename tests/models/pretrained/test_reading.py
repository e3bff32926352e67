"""Published networks, built by name and filled through the key maps, give what was recorded of the originals."""

import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from recorded import published_weights, recorded, standard_input
from t3d.errors import CheckpointError, ConfigError
from t3d.models import LAYOUTS, Network, create_model, from_published, read_published
from t3d.models.pretrained.inflation import inflate
from t3d.models.pretrained.reading import Published, published_name, recognise
from t3d.video.optical_flow import quantise
from t3d.video.spec import PixelSpec
from t3d.video.transforms import normalise

slow = pytest.mark.slow

# What each recorded file must be recognised as, and the clips its outputs were recorded for.
FIXTURES: dict[str, tuple[str, str, int, list[tuple[int, ...]]]] = {
    "tv_densenet121": ("torchvision_densenet", "densenet3d_121", 1000, [(1, 3, 64, 64), (2, 3, 224, 224)]),
    "tv_densenet169": ("torchvision_densenet", "densenet3d_169", 1000, [(1, 3, 64, 64), (2, 3, 224, 224)]),
    "tv_r3d_18": ("torchvision_r3d", "r3d_18", 400, [(1, 3, 8, 56, 56), (1, 3, 16, 112, 112)]),
    "hara_resnet18": ("hara_resnet", "resnet3d_18", 700, [(1, 3, 8, 56, 56), (1, 3, 16, 112, 112)]),
    "hara_resnet34": ("hara_resnet", "resnet3d_34", 700, [(1, 3, 8, 56, 56), (1, 3, 16, 112, 112)]),
    "hara_resnet50": ("hara_resnet", "resnet3d_50", 700, [(1, 3, 8, 56, 56), (1, 3, 16, 112, 112)]),
    "hara_densenet121": ("hara_densenet", "densenet3d_121", 700, [(1, 3, 16, 64, 64), (1, 3, 16, 112, 112)]),
    "i3d": ("i3d", "i3d", 400, [(1, 3, 9, 193, 193), (1, 3, 16, 224, 224), (1, 3, 32, 224, 224)]),
    "t3d_densenet121_3d": ("t3d_authors", "densenet3d_121", 1000, [(1, 3, 32, 224, 224)]),
    "c3d": ("c3d", "c3d", 487, [(1, 3, 16, 112, 112)]),
    "c3d_mmaction2": ("c3d_mmaction2", "c3d", 0, [(1, 3, 16, 112, 112)]),  # recorded: what a classifier would see
}
LARGE = ("hara_resnet34", "i3d", "t3d_densenet121_3d", "c3d", "c3d_mmaction2")


def _build(found: Published, **overrides: object) -> Network:
    model = create_model(found.arch, found.num_classes, **{**found.overrides, **overrides})
    model.load_state_dict(dict(found.tensors), strict=True)
    return model.eval()


def _logits(fixtures: Path, name: str, shape: tuple[int, ...]) -> Tensor:
    return recorded(fixtures, name, "logits__" + "x".join(map(str, shape)))


def _assert_close(logits: Tensor, expected: Tensor) -> None:
    assert logits.shape == expected.shape
    assert (logits - expected).abs().max() <= 1e-4 * expected.abs().max()


def _outline(fixtures: Path, name: str) -> dict[str, Tensor]:
    """The names and shapes of a published file, without values."""
    listed = json.loads((fixtures / f"{name}.json").read_text())["state_dict"]
    return {key: torch.empty(shape, device="meta") for key, shape in listed}


@pytest.mark.parametrize("name", [pytest.param(name, marks=[slow] if name in LARGE else []) for name in FIXTURES])
def test_published_networks_give_the_recorded_outputs(name: str, shared_fixtures: Path) -> None:
    layout, arch, num_classes, shapes = FIXTURES[name]
    found = read_published(published_weights(shared_fixtures, name))
    assert (found.layout, found.arch, found.num_classes, found.bgr) == (layout, arch, num_classes, False)
    model = _build(found)
    for shape in shapes:
        clips = standard_input(shape)
        with torch.no_grad():
            outputs = model(clips if clips.ndim == 5 else clips.unsqueeze(2))  # a picture is a clip of one frame
        _assert_close(outputs, _logits(shared_fixtures, name, shape))


@slow
def test_the_trunk_of_i3d_gives_the_recorded_features(shared_fixtures: Path) -> None:
    found = read_published(published_weights(shared_fixtures, "i3d"))
    model = _build(found, head="mean")
    shape = (1, 3, 32, 112, 112)  # the published head refuses it
    with torch.no_grad():
        features = model.embed(standard_input(shape))
    _assert_close(features, recorded(shared_fixtures, "i3d", "mixed5c_mean__1x3x32x112x112"))
    raw = recorded(shared_fixtures, "i3d", "raw__1x3x32x224x224")  # (1, 400, 3): scores of windows
    torch.testing.assert_close(raw.mean(dim=2), _logits(shared_fixtures, "i3d", (1, 3, 32, 224, 224)))


@pytest.mark.parametrize("name", FIXTURES)
def test_every_published_name_means_a_tensor_of_its_own(name: str, shared_fixtures: Path) -> None:
    layout, arch, num_classes, _ = FIXTURES[name]
    published = _outline(shared_fixtures, name)
    renamed = from_published(published, layout=layout)
    with torch.device("meta"):
        own = create_model(arch, num_classes, **LAYOUTS[layout].overrides).state_dict()
    assert len(renamed) == len(published)
    assert {key: tensor.shape for key, tensor in renamed.items()} == {key: own[key].shape for key in own}
    for key, ours in zip(published, renamed, strict=True):
        undotted = re.sub(r"(norm|conv)\.([12])\.", r"\1\2.", key) if "densenet" in name else key
        assert published_name(ours, layout=layout) == undotted


@pytest.mark.parametrize("name", FIXTURES)
def test_what_is_missing_is_named_as_published(name: str, shared_fixtures: Path) -> None:
    layout, arch, _, _ = FIXTURES[name]
    published = _outline(shared_fixtures, name)
    weights = [key for key in published if key.endswith(".weight")]
    lost = weights[len(weights) // 2]
    undotted = re.sub(r"(norm|conv)\.([12])\.", r"\1\2.", lost) if "densenet" in name else lost
    del published[lost]
    expected = (
        f"does not fit {arch}, the nearest of layout {layout}: 1 missing (first '{undotted}'); 0 unexpected; "
        "0 of another shape"
    )
    with pytest.raises(CheckpointError, match=f"^{re.escape(expected)}$"):
        read_published(published)


def test_a_frame_repeated_scores_like_the_picture(shared_fixtures: Path) -> None:
    model = _build(read_published(published_weights(shared_fixtures, "tv_densenet121")))
    shape = (1, 3, 64, 64)
    with torch.no_grad():
        logits = model(standard_input(shape).unsqueeze(2).repeat(1, 1, 3, 1, 1))
    _assert_close(logits, _logits(shared_fixtures, "tv_densenet121", shape))


@pytest.mark.parametrize("how", ["centre", "repeat"])
def test_a_still_video_through_the_inflated_network_scores_like_the_picture(how: Any, shared_fixtures: Path) -> None:  # noqa: ANN401
    model = create_model("densenet3d_121", 1000, replicate_time=how == "repeat").eval()
    weights = from_published(published_weights(shared_fixtures, "tv_densenet121"), layout="torchvision_densenet")
    assert inflate(model, weights, how=how).fresh == ()
    shape = (1, 3, 64, 64)
    with torch.no_grad():
        logits = model(standard_input(shape).unsqueeze(2).repeat(1, 1, 16, 1, 1))
    _assert_close(logits, _logits(shared_fixtures, "tv_densenet121", shape))


def test_densenet161_is_told_from_the_others_by_its_shapes() -> None:
    _, tensors = _published("densenet3d_161", "torchvision_densenet", device="meta")
    found = read_published(tensors)
    assert (found.arch, found.overrides) == ("densenet3d_161", LAYOUTS["torchvision_densenet"].overrides)


def test_timm_has_the_names_of_torchvision(shared_fixtures: Path) -> None:
    comparisons = json.loads((shared_fixtures / "timm_densenet_keys.json").read_text())["comparisons"]
    for depth in ("121", "161", "169", "201"):
        told = comparisons[f"densenet{depth}"]
        assert (told["only_in_timm"], told["only_in_torchvision"], told["shape_mismatch"]) == ([], [], [])
        with torch.device("meta"):
            own = create_model(f"densenet3d_{depth}", 1000, **LAYOUTS["torchvision_densenet"].overrides).state_dict()
        assert len(own) == told["n_keys_timm"]
    blurred = _outline(shared_fixtures, "tv_densenet121")
    told = comparisons["densenetblur121d (vs torchvision densenet121)"]
    blurred |= {key: torch.empty(shape, device="meta") for key, shape in told["only_in_timm"]}
    with pytest.raises(CheckpointError, match=r"'features\.conv1\.weight' is not of torchvision_densenet;"):
        read_published(blurred)


# --- 2D ResNet: no outputs were recorded, so a second implementation with the published names stands in


def _resnet2d(tensors: Mapping[str, Tensor], pictures: Tensor) -> Tensor:
    """A 2D residual network of basic blocks, one a stage, written down from He et al. 2016."""

    def norm(features: Tensor, name: str) -> Tensor:
        mean, variance, weight, bias = (
            tensors[f"{name}.{leaf}"] for leaf in ("running_mean", "running_var", "weight", "bias")
        )
        return F.batch_norm(features, mean, variance, weight, bias)

    features = F.conv2d(pictures, tensors["conv1.weight"], stride=2, padding=3)
    features = F.max_pool2d(norm(features, "bn1").relu(), 3, stride=2, padding=1)
    for stage in range(1, 5):
        block, stride = f"layer{stage}.0", 1 if stage == 1 else 2
        inner = F.conv2d(features, tensors[f"{block}.conv1.weight"], stride=stride, padding=1)
        inner = F.conv2d(norm(inner, f"{block}.bn1").relu(), tensors[f"{block}.conv2.weight"], padding=1)
        if f"{block}.downsample.0.weight" in tensors:
            features = F.conv2d(features, tensors[f"{block}.downsample.0.weight"], stride=stride)
            features = norm(features, f"{block}.downsample.1")
        features = (norm(inner, f"{block}.bn2") + features).relu()
    return F.linear(features.mean(dim=(2, 3)), tensors["fc.weight"], tensors["fc.bias"])


def _published(
    arch: str, layout: str, *, device: str = "cpu", **overrides: object
) -> tuple[Network, dict[str, Tensor]]:
    """A network of random weights and statistics, and its tensors as a layout has them."""
    generator = torch.Generator().manual_seed(0) if device == "cpu" else None
    with torch.device(device):
        model = create_model(arch, 5, generator=generator, **{**LAYOUTS[layout].overrides, **overrides}).eval()
    for name, tensor in model.state_dict().items():
        if name.endswith(("running_mean", "running_var", "norm.weight", "bias")):
            tensor.uniform_(0.5, 1.5, generator=generator)
    named = {str(published_name(name, layout=layout)): tensor for name, tensor in model.state_dict().items()}
    flat = LAYOUTS[layout].flat
    return model, {name: tensor[:, :, 0] if flat and tensor.ndim == 5 else tensor for name, tensor in named.items()}


def test_a_2d_resnet_computes_the_same() -> None:
    _, tensors = _published("resnet3d_tiny", "torchvision_resnet")
    model = _build(read_published(tensors, arch="resnet3d_tiny"))
    pictures = torch.randn(2, 3, 64, 64, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        _assert_close(model(pictures.unsqueeze(2)), _resnet2d(tensors, pictures))


# --- what the pixels were


def test_networks_made_for_blue_green_red_see_our_pixels() -> None:
    original, tensors = _published("c3d_tiny", "c3d_jfzhang")
    clips = torch.randn(2, 3, 16, 32, 32, generator=torch.Generator().manual_seed(1))
    found = read_published(tensors, arch="c3d_tiny")
    assert (found.layout, found.bgr) == ("c3d_jfzhang", True)
    with torch.no_grad():
        torch.testing.assert_close(_build(found)(clips), original(clips.flip(1)))
    original, tensors = _published("c3d_tiny", "c3d")
    with torch.no_grad():
        for bgr, seen in ((False, clips), (True, clips.flip(1))):
            model = _build(read_published(tensors, arch="c3d_tiny", bgr=bgr))
            torch.testing.assert_close(model(clips), original(seen))


def test_networks_of_flow_see_the_range_they_were_made_for() -> None:
    original, tensors = _published("inception3d_tiny", "i3d", in_channels=2)
    tensors["logits.conv3d.weight"] = tensors["logits.conv3d.weight"][:, :, None, None, None]
    found = read_published(tensors, arch="inception3d_tiny")
    assert found.overrides == {"in_channels": 2}
    assert found.pixels == PixelSpec(modality="flow", flow_bound=20 / 256)
    levels = torch.randint(-140, 141, (1, 2, 16, 32, 32), generator=torch.Generator().manual_seed(1))
    motion = levels * (20 / 127)  # pixels, some of them more than 20
    published = (motion / 20).clamp(-1, 1)
    fields = motion[0].permute(1, 2, 3, 0).numpy()  # (T, H, W, 2)
    seen = np.stack([quantise(field, found.pixels.flow_bound * found.pixels.resize) for field in fields])
    ours = normalise(torch.from_numpy(seen).permute(3, 0, 1, 2)[None], found.pixels)
    with torch.no_grad():
        torch.testing.assert_close(_build(found)(ours), original(published), rtol=1e-4, atol=1e-5)
    with pytest.raises(CheckpointError, match="2 channels are not blue, green and red; leave out --bgr"):
        read_published(tensors, arch="inception3d_tiny", bgr=True)


@pytest.mark.parametrize("channels", [1, 2, 4])
def test_channels_of_unknown_meaning_are_refused(channels: int) -> None:
    _, tensors = _published("resnet3d_tiny", "hara_resnet", in_channels=channels)
    with pytest.raises(CheckpointError, match=f"a network of {channels} channels, and it is not known what they hold"):
        read_published(tensors, arch="resnet3d_tiny")


def test_the_rate_of_torchvision_is_said_to_differ() -> None:
    assert "published at 15 frames a second and five clips a video" in LAYOUTS["torchvision_r3d"].inexact


def test_preprocessing_is_as_published() -> None:
    assert LAYOUTS["torchvision_densenet"].pixels == PixelSpec(
        resize=256, crop_size=224, mean=(0.485, 0.456, 0.406), std=(0.229, 0.224, 0.225)
    )
    clips = torch.tensor([0.0, 127.5, 255.0]).expand(3, 3)  # three levels of each colour
    expected = {
        "i3d": clips / 255 * 2 - 1,
        "c3d": clips,
        "c3d_jfzhang": clips - torch.tensor([[102.0], [98.0], [90.0]]),
        "c3d_mmaction2": clips - torch.tensor([[104.0], [117.0], [128.0]]),
    }
    for name, values in expected.items():
        pixels = LAYOUTS[name].pixels
        mean, std = (torch.tensor(given)[:, None] for given in (pixels.mean, pixels.std))
        torch.testing.assert_close((clips / 255 - mean) / std, values, rtol=1e-4, atol=1e-3)


# --- names and shapes


def test_dotted_names_of_older_files_mean_the_same() -> None:
    names = ["norm1.weight", "conv1.weight", "norm2.running_mean", "conv2.weight"]
    new = {f"features.denseblock4.denselayer16.{name}": torch.zeros(1) for name in names}
    old = {re.sub(r"(norm|conv)([12])\.", r"\1.\2.", name): tensor for name, tensor in new.items()}
    assert "features.denseblock4.denselayer16.norm.1.weight" in old
    renamed = from_published(old, layout="torchvision_densenet")
    assert list(renamed) == list(from_published(new, layout="torchvision_densenet"))
    assert list(renamed) == [
        "stages.block4.layer16.squeeze.norm.weight",
        "stages.block4.layer16.squeeze.conv.weight",
        "stages.block4.layer16.grow.norm.running_mean",
        "stages.block4.layer16.grow.conv.weight",
    ]
    with pytest.raises(CheckpointError, match=r"two tensors mean the same, one of them is 'features.*norm\.1\.weight'"):
        from_published({**new, **old}, layout="torchvision_densenet")


def test_kernels_of_pictures_become_one_plane_deep() -> None:
    kernel, matrix = torch.randn(4, 3, 7, 5), torch.randn(10, 4)
    loaded = from_published(
        {"features.conv0.weight": kernel, "classifier.weight": matrix}, layout="torchvision_densenet"
    )
    assert torch.equal(loaded["stem.conv.weight"], kernel[:, :, None])
    assert torch.equal(loaded["classifier.weight"], matrix)


def test_a_classifier_that_is_a_convolution_becomes_a_matrix() -> None:
    kernel = torch.randn(4, 6, 1, 1, 1)
    loaded = from_published({"logits.conv3d.weight": kernel}, layout="i3d")
    assert torch.equal(loaded["classifier.weight"], kernel[:, :, 0, 0, 0])


def test_whole_recognisers_of_mmaction2_have_a_prefix_and_a_classifier() -> None:
    names = {"backbone.conv3b.conv.bias": "stages.block2.conv2.bias", "backbone.fc6.weight": "head.fc6.weight"}
    names["cls_head.fc_cls.weight"] = "classifier.weight"
    renamed = from_published({name: torch.zeros(1, 1) for name in names}, layout="c3d_mmaction2")
    assert list(renamed) == list(names.values())


def test_names_alone_tell_2d_from_3d_by_their_kernels(shared_fixtures: Path) -> None:
    flat = _outline(shared_fixtures, "tv_densenet121")
    assert recognise(flat) == "torchvision_densenet"
    deep = {name: tensor[:, :, None] if tensor.ndim == 4 else tensor for name, tensor in flat.items()}
    assert recognise(deep) == "t3d_authors"


# --- files that do not fit


@pytest.mark.parametrize("name", ["layer1.0.conv1.weight", "features.denseblock1.denselayer1.norm3.weight", "module"])
def test_foreign_names_are_refused(name: str) -> None:
    with pytest.raises(CheckpointError, match=re.escape(repr(name))):
        from_published({name: torch.zeros(1)}, layout="t3d_authors")


def test_unknown_layouts_are_answered_with_the_known_ones() -> None:
    for read in (from_published, read_published):
        with pytest.raises(ConfigError, match="unknown layout 'keras'; choose from t3d_authors, torchvision_densenet"):
            read({}, layout="keras")


def test_names_of_no_layout_are_answered_with_what_was_tried() -> None:
    tensors = {"conv1.weight": torch.zeros(8, 3, 3, 3, 3), "conv9.weight": torch.zeros(1)}
    with pytest.raises(CheckpointError) as caught:
        recognise(tensors)
    text = str(caught.value)
    assert text.startswith("no layout suits these 2 names: ")
    assert "'conv9.weight' is not of hara_resnet, c3d" in text
    assert "'conv1.weight' is not of t3d_authors, torchvision_densenet, torchvision_r3d, hara_densenet, i3d" in text
    assert "'conv1.weight' of 5 dimensions is not of torchvision_resnet" in text


def test_names_of_several_layouts_need_a_word() -> None:
    with pytest.raises(CheckpointError, match=r"these names suit hara_resnet and c3d; say which \(--from\)"):
        recognise({"conv1.weight": torch.zeros(8, 3, 3, 3, 3)})


def _misfits(fixtures: Path) -> Iterator[tuple[dict[str, Tensor], str]]:
    outline = _outline(fixtures, "hara_resnet50")
    yield (
        {**outline, "layer2.4.conv1.weight": torch.empty(128, 512, 1, 1, 1, device="meta")},  # deeper: 3, 8, 36, 3
        "does not fit resnet3d_50, the nearest of layout hara_resnet: 0 missing; 1 unexpected (first "
        "'layer2.4.conv1.weight'); 0 of another shape",
    )
    yield (
        {**outline, "layer4.2.conv2.weight": torch.empty(512, 512, 1, 3, 3, device="meta"), "aux.bias": torch.zeros(1)},
        "does not fit resnet3d_50, the nearest of layout hara_resnet: 0 missing; 1 unexpected (first 'aux.bias'); "
        "1 of another shape (first 'layer4.2.conv2.weight'), 512 x 512 x 1 x 3 x 3 instead of 512 x 512 x 3 x 3 x 3",
    )
    yield (
        {name: tensor for name, tensor in outline.items() if ".downsample." not in name},
        "a resnet3d_50 with shortcuts of type A, which have no weights; only type B is supported",
    )


def test_what_does_not_fit_is_counted_and_the_first_of_each_named(shared_fixtures: Path) -> None:
    for tensors, expected in _misfits(shared_fixtures):
        with pytest.raises(CheckpointError) as caught:
            read_published(tensors, layout="hara_resnet")
        assert str(caught.value) == expected


def test_counters_of_batches_may_be_absent(shared_fixtures: Path) -> None:
    old = {
        name: tensor
        for name, tensor in _outline(shared_fixtures, "hara_resnet18").items()
        if not name.endswith("num_batches_tracked")
    }
    assert read_published(old).arch == "resnet3d_18"
