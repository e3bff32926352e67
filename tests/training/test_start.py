import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Literal

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from recorded import published_weights
from t3d.errors import CheckpointError
from t3d.models import LAYOUTS, Network, create_model
from t3d.models.checkpoints import ModelCard, save_weights
from t3d.models.pretrained.inflation import twin_overrides
from t3d.models.pretrained.reading import published_name
from t3d.run_files import MATCHER_NAME, WEIGHTS_NAME
from t3d.training.start import inflate_from
from t3d.transfer.matcher import Matcher, keep_fc, save_matcher

MICRO = {"blocks": [1, 1, 1, 1], "growth_rate": 4, "stem_channels": 4, "ttl_width": 4, "keep_last_plane": True}
LABELS = ("clap", "run", "wave")
How = Literal["centre", "repeat"]


def _network(*, seed: int = 0, num_classes: int = 3, **overrides: object) -> Network:
    generator = torch.Generator().manual_seed(seed)
    return create_model("t3d_tiny", num_classes, generator=generator, **{**MICRO, **overrides})


@pytest.fixture
def twin(tmp_path: Path, card: ModelCard) -> Callable[..., Path]:
    """A run of the 2D twin of the micro network."""

    def write(**changes: object) -> Path:
        flat = _network(seed=1, **twin_overrides("t3d_tiny", **MICRO))
        folder = tmp_path / "twin"
        folder.mkdir()
        written = replace(card, overrides=twin_overrides("t3d_tiny", **MICRO), **changes)
        save_weights(folder / WEIGHTS_NAME, flat.state_dict(), written)
        return folder

    return write


def _state(model: nn.Module) -> dict[str, Tensor]:
    return {name: value.clone() for name, value in model.state_dict().items()}


@pytest.mark.parametrize("how", ["centre", "repeat"])
def test_a_run_of_the_twin_fills_the_whole_network(how: How, twin: Callable[..., Path]) -> None:
    folder = twin()
    model = _network(replicate_time=True).eval()
    inflation, card = inflate_from(model, folder, LABELS, how=how)
    assert inflation.fresh == ()
    assert list(inflation.copied) == list(model.state_dict())
    assert card is not None
    assert card.labels == LABELS
    flat = _network(seed=1, **twin_overrides("t3d_tiny", **MICRO)).eval()
    picture = torch.randn(2, 3, 1, 32, 32, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():  # a still video is scored as its picture is
        torch.testing.assert_close(model(picture.expand(-1, -1, 5, -1, -1)), flat(picture), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("labels", [("clap", "run"), ("run", "clap", "wave")])
def test_other_classes_keep_their_head(labels: tuple[str, ...], twin: Callable[..., Path]) -> None:
    model = _network(num_classes=len(labels))
    before = _state(model)
    inflation, _ = inflate_from(model, twin() / WEIGHTS_NAME, labels, how="centre")
    assert inflation.fresh == ("classifier.weight", "classifier.bias")
    assert all(model.state_dict()[name].equal(before[name]) for name in inflation.fresh)


def _published(path: Path, *, old_names: bool = False) -> dict[str, Tensor]:
    """A tiny DenseNet with torchvision's names, in a file; gives its tensors by our names."""
    model = create_model(
        "densenet3d_tiny", 4, generator=torch.Generator().manual_seed(1), **LAYOUTS["torchvision_densenet"].overrides
    )
    named = {}
    for name, tensor in model.state_dict().items():
        theirs = re.sub(
            r"^stages\.block(\d)\.layer(\d)\.squeeze\.(\w+)", r"features.denseblock\1.denselayer\2.\g<3>1", name
        )
        theirs = re.sub(
            r"^stages\.block(\d)\.layer(\d)\.grow\.(\w+)", r"features.denseblock\1.denselayer\2.\g<3>2", theirs
        )
        theirs = re.sub(r"^stages\.transition(\d)\.compress\.", r"features.transition\1.", theirs)
        theirs = re.sub(r"^stem\.(\w+)", r"features.\g<1>0", re.sub(r"^norm\.", "features.norm5.", theirs))
        named[theirs] = tensor.squeeze(2).contiguous() if tensor.ndim == 5 else tensor
    if path.suffix == ".safetensors":
        save_file(named, str(path))
    else:
        torch.save(named, path)
    return model.state_dict()


@pytest.mark.parametrize("name", ["published.pth", "published.safetensors"])
def test_a_published_file_fills_all_but_the_head(name: str, tmp_path: Path) -> None:
    flat = _published(tmp_path / name)
    model = create_model("densenet3d_tiny", 4, generator=torch.Generator().manual_seed(0))
    before = _state(model)
    inflation, card = inflate_from(model, tmp_path / name, LABELS, how="centre")
    assert card is None
    assert inflation.fresh == ("classifier.weight", "classifier.bias")  # of the same width, but of other classes
    for key, value in model.state_dict().items():
        if key in inflation.fresh:
            assert value.equal(before[key])
        elif value.ndim == 5:
            assert value[:, :, value.shape[2] // 2].equal(flat[key][:, :, 0])
            assert value.abs().sum() == pytest.approx(float(flat[key].abs().sum()), rel=1e-5)
        else:
            assert value.equal(flat[key])


def test_densenet121_as_published_fills_densenet3d_121(shared_fixtures: Path, tmp_path: Path) -> None:
    tensors = published_weights(shared_fixtures, "tv_densenet121")
    torch.save(tensors, tmp_path / "densenet121.pth")
    with torch.device("meta"):
        names = list(create_model("densenet3d_121", 1000).state_dict())
    model = create_model("densenet3d_121", 1000)
    inflation, card = inflate_from(model, tmp_path / "densenet121.pth", tuple("abc"), how="repeat")
    assert (card, inflation.fresh) == (None, ("classifier.weight", "classifier.bias"))
    assert [*inflation.copied, *inflation.fresh] == names
    kernel = tensors["features.denseblock4.denselayer16.conv2.weight"]
    torch.testing.assert_close(model.stages.block4.layer16.grow.conv.weight.detach().sum(dim=2), kernel)


def test_of_a_t3d_a_published_file_fills_what_comes_before_its_first_transition(tmp_path: Path) -> None:
    _published(tmp_path / "published.pth")
    model = create_model("t3d_tiny", 3, growth_rate=18, bottleneck=4)
    inflation, _ = inflate_from(model, tmp_path / "published.pth", LABELS, how="centre")
    assert {".".join(name.split(".")[:2]) for name in inflation.copied} == {"stem.conv", "stem.norm", "stages.block1"}


def _refusal(model: Network, path: Path) -> str:
    before = _state(model)
    with pytest.raises(CheckpointError) as caught:
        inflate_from(model, path, LABELS, how="centre")
    assert all(value.equal(before[name]) for name, value in model.state_dict().items())
    text = str(caught.value)
    assert text.startswith(str(path))
    assert text.count(str(path)) == 1
    assert "\n" not in text
    return text


def test_a_network_whose_stem_does_not_fit_is_refused(twin: Callable[..., Path]) -> None:
    folder = twin()
    text = _refusal(_network(stem_channels=6), folder)
    assert "'stem.conv.weight' is 4 x 3 x 1 x 7 x 7 in the 2D weights, but 6 x 3 x 3 x 7 x 7 in the network" in text


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("nothing.pth", "no such weights file"),
        ("nothing.safetensors", "no such run folder or weights file"),
        ("nothing", "no such weights file"),
    ],
)
def test_missing_files_are_named(name: str, reason: str, tmp_path: Path) -> None:
    assert reason in _refusal(_network(), tmp_path / name)


@pytest.mark.parametrize("name", ["damaged.pth", "damaged.safetensors"])
@pytest.mark.parametrize("share", [0.0, 0.5, 0.99])
def test_damaged_files_are_refused(name: str, share: float, tmp_path: Path) -> None:
    path = tmp_path / name
    _published(path)
    content = path.read_bytes()
    path.write_bytes(content[: int(share * len(content))])
    assert "damaged" in _refusal(_network(), path) or "not a complete safetensors file" in _refusal(_network(), path)


@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
def test_files_of_another_network_are_refused(suffix: str, tmp_path: Path) -> None:
    path = tmp_path / f"resnet{suffix}"
    tensors = {"layer1.0.conv1.weight": torch.zeros(2, 2, 3, 3)}
    save_file(tensors, str(path)) if suffix == ".safetensors" else torch.save(tensors, path)
    assert "'layer1.0.conv1.weight' is not part of layout torchvision_densenet" in _refusal(_network(), path)


def test_a_published_resnet_fills_a_resnet3d(tmp_path: Path) -> None:
    layout = "torchvision_resnet"
    flat = create_model("resnet3d_tiny", 4, generator=torch.Generator().manual_seed(1), **LAYOUTS[layout].overrides)
    named = {published_name(name, layout=layout): tensor for name, tensor in flat.state_dict().items()}
    pictures = {name: tensor[:, :, 0].clone() if tensor.ndim == 5 else tensor for name, tensor in named.items()}
    torch.save(pictures, tmp_path / "resnet.pth")
    model = create_model("resnet3d_tiny", 3)
    inflation, card = inflate_from(model, tmp_path / "resnet.pth", LABELS, how="centre")
    assert (card, inflation.fresh) == (None, ("classifier.weight", "classifier.bias"))
    for name in ("stem.0.conv.weight", "stages.block4.0.layers.1.conv.weight", "stages.block2.0.shortcut.conv.weight"):
        kernel = model.state_dict()[name]
        assert kernel[:, :, kernel.shape[2] // 2].equal(flat.state_dict()[name][:, :, 0])


def test_families_without_published_2d_weights_say_so(tmp_path: Path) -> None:
    _published(tmp_path / "published.pth")
    text = _refusal(create_model("c3d_tiny", 3), tmp_path / "published.pth")
    assert "no published 2D weights are known for this network; give a run of its 2D twin (--twin)" in text


def test_code_in_a_file_is_not_run(tmp_path: Path) -> None:
    torch.save({"features.conv0.weight": Path}, tmp_path / "code.pth")
    assert "code in it, which is not run" in _refusal(_network(), tmp_path / "code.pth")


def _matcher(num_features: int) -> Matcher:
    torch.manual_seed(2)
    matcher = Matcher(student_features=num_features, teacher_features=6, normalise=True)
    nn.init.normal_(matcher.student.bias)
    return matcher


def test_keep_fc_copies_exactly_the_students_layer(tmp_path: Path) -> None:
    model = _network(neck=1024)
    before, matcher = _state(model), _matcher(model.num_features)
    save_matcher(tmp_path / MATCHER_NAME, matcher)
    keep_fc(model, tmp_path)
    assert model.neck.weight.equal(matcher.student.weight)
    assert model.neck.bias.equal(matcher.student.bias)
    rest = [name for name in before if not name.startswith("neck.")]
    assert all(model.state_dict()[name].equal(before[name]) for name in rest)
    assert [file.name for file in tmp_path.iterdir()] == [MATCHER_NAME]


def _kept(model: Network, path: Path) -> str:
    before = _state(model)
    with pytest.raises(CheckpointError) as caught:
        keep_fc(model, path)
    assert "\n" not in str(caught.value)
    assert all(value.equal(before[name]) for name, value in model.state_dict().items())
    return str(caught.value)


def test_keep_fc_wants_the_run_of_a_transfer(twin: Callable[..., Path], tmp_path: Path) -> None:
    folder, model = twin(), _network(neck=1024)
    for path in (folder, folder / WEIGHTS_NAME, tmp_path / "nothing"):
        assert _kept(model, path) == (
            f"{path}: no matcher.safetensors in this folder; --keep-fc needs the run folder of a transfer"
        )
    file = tmp_path / MATCHER_NAME
    save_matcher(file, _matcher(model.num_features + 1))
    assert str(file) in _kept(model, tmp_path)
    save_file({"weight": torch.zeros(1)}, str(file))
    assert str(file) in _kept(model, tmp_path)
    file.write_bytes(b"half")
    assert "not a complete safetensors file" in _kept(model, tmp_path)
