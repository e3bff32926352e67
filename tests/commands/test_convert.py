"""Files as others write them, turned into ours and used: predict, evaluate, start a training."""

import csv
import hashlib
import json
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any, get_args

import pytest
import torch
from torch import Tensor

from program import MICRO, NUM_TEST, Call
from t3d.config import ConvertConfig, Layout
from t3d.errors import ConfigError
from t3d.models import LAYOUTS, Network, create_model
from t3d.models.checkpoints import load_model, read_weights
from t3d.models.pretrained.reading import published_name
from t3d.video.spec import ClipSpec, PixelSpec

TINY = {
    "t3d_authors": "densenet3d_tiny",
    "torchvision_densenet": "densenet3d_tiny",
    "torchvision_resnet": "resnet3d_tiny",
    "torchvision_r3d": "resnet3d_tiny",
    "hara_resnet": "resnet3d_tiny",
    "hara_densenet": "densenet3d_tiny",
    "i3d": "inception3d_tiny",
    "c3d": "c3d_tiny",
    "c3d_jfzhang": "c3d_tiny",
    "c3d_mmaction2": "c3d_tiny",
}
"""A small network with the names of each layout; the real ones are checked against recorded outputs elsewhere."""

Publish = Callable[..., tuple[Path, Network]]


@pytest.fixture
def publish(tmp_path: Path) -> Publish:
    """Write a tiny network as others would, and give it."""

    def write(
        layout: str, name: str = "published.pth", *, num_classes: int = 2, **overrides: object
    ) -> tuple[Path, Network]:
        generator = torch.Generator().manual_seed(0)
        literals = {**LAYOUTS[layout].overrides, **overrides}
        model = create_model(TINY[layout], num_classes, generator=generator, **literals).eval()
        tensors = {str(published_name(key, layout=layout)): tensor for key, tensor in model.state_dict().items()}
        if LAYOUTS[layout].flat:
            tensors = {key: tensor[:, :, 0].clone() if tensor.ndim == 5 else tensor for key, tensor in tensors.items()}
        torch.save(
            {"epoch": 200, "state_dict": {f"module.{key}": tensor for key, tensor in tensors.items()}}, tmp_path / name
        )
        return tmp_path / name, model

    return write


@pytest.fixture
def labels(tmp_path: Path) -> Path:
    """Names in the order of the outputs, which is not that of the alphabet."""
    path = tmp_path / "labels.txt"
    path.write_text("b\na\n")
    return path


def test_layouts_of_the_command_line_are_those_of_the_table() -> None:
    assert get_args(Layout) == ("auto", *LAYOUTS)
    assert list(TINY) == list(LAYOUTS)


@pytest.mark.parametrize("layout", LAYOUTS)
def test_every_layout_is_recognised_and_computes_the_same(layout: str, publish: Publish, t3d: Call) -> None:
    path, original = publish(layout)
    outcome = t3d("convert", path, "--arch", TINY[layout])
    assert outcome.code == 0
    output = path.with_suffix(".safetensors")
    assert outcome.out == f"{output}: {TINY[layout]}, 2 classes; read as {layout}\n"
    assert f"warning: {path}: holds no names of its 2 classes; --labels FILE gives them\n" in outcome.err
    model, card = load_model(output)
    row = LAYOUTS[layout]
    assert (card.arch, card.labels, card.clip, card.pixels) == (
        TINY[layout],
        ("class 0", "class 1"),
        row.clip,
        row.pixels,
    )
    assert json.loads(json.dumps(dict(row.overrides))) == card.overrides
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    source = {"layout": layout, "file": "published.pth", "sha256": digest, "bgr": row.bgr}
    assert card.training["converted_from"] == source
    assert card.training["command"] == f"t3d convert {path} --arch {TINY[layout]}"
    assert any(row.inexact in caveat for caveat in card.training["caveats"])
    clips = torch.randn(1, 3, 32, 64, 64, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        torch.testing.assert_close(model(clips), original(clips.flip(1) if row.bgr else clips))


def test_flags_reach_the_conversion(publish: Publish, labels: Path, t3d: Call, tmp_path: Path) -> None:
    path, original = publish("c3d")
    output = tmp_path / "new" / "folder" / "ours.safetensors"
    flags = ("--from", "c3d", "--arch", "c3d_tiny", "--labels", labels, "--bgr", "--output", output)
    outcome = t3d("convert", path, *flags)
    assert outcome.code == 0
    assert "holds no names" not in outcome.err
    model, card = load_model(output)
    assert card.labels == ("a", "b")
    assert card.training["converted_from"]["bgr"] is True
    clips = torch.randn(1, 3, 8, 64, 64, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        torch.testing.assert_close(model(clips), original(clips.flip(1)).flip(1))  # a's score was the second


def test_predictions_and_results_of_converted_weights(
    publish: Publish, labels: Path, dataset: Path, t3d: Call, tmp_path: Path
) -> None:
    path, _ = publish("hara_resnet")
    output = tmp_path / "ours.safetensors"
    assert t3d("convert", path, "--arch", "resnet3d_tiny", "--labels", labels, "--output", output).code == 0
    evaluated = t3d("evaluate", output, dataset, "--output", tmp_path / "results", "--workers", 0)
    assert evaluated.code == 0
    metrics = json.loads((tmp_path / "results" / "metrics.json").read_text())
    assert (metrics["selection"], metrics["protocol"]["num_frames"]) == ("not known", 16)
    assert metrics["seed"] == "not known"
    assert f"| {tmp_path / 'results'} | videos | 1 | not known |" in t3d("compare", tmp_path / "results").out
    assert "published weights (published.pth, kenshohara/3D-ResNets-PyTorch" in metrics["warnings"][0]
    with (tmp_path / "results" / "predictions.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    videos = [dataset.parent / row["video"] for row in rows]
    answers = json.loads(t3d("predict", output, *videos, "--json", "--workers", 0).out)
    assert len(answers) == NUM_TEST
    for answer, row in zip(answers, rows, strict=True):
        assert {entry["label"]: entry["score"] for entry in answer["predictions"]} == {
            label: float(row[f"score:{label}"]) for label in "ab"
        }


def test_a_training_starts_from_converted_weights(publish: Publish, dataset: Path, t3d: Call, tmp_path: Path) -> None:
    path, original = publish("hara_resnet", num_classes=3)
    assert t3d("convert", path, "--arch", "resnet3d_tiny").code == 0
    start, run = path.with_suffix(".safetensors"), tmp_path / "run"
    flags = ("--arch", "resnet3d_tiny", "--output", run, *MICRO, "--max-steps", 1, "--lr", 0)
    outcome = t3d("train", dataset, "--init", start, *flags)
    assert outcome.code == 0
    assert f"{start}: other classes (3 -> 2); the head starts anew" in outcome.err
    tensors, card = read_weights(run)
    for name, tensor in original.named_parameters():
        if not name.startswith("classifier."):
            assert torch.equal(tensors[name], tensor), name
    (ancestor,) = card.training["lineage"]
    assert (ancestor["arch"], ancestor["command"]) == ("resnet3d_tiny", f"t3d convert {path} --arch resnet3d_tiny")


def test_published_weights_start_a_network_with_temporal_transitions(
    publish: Publish, dataset: Path, t3d: Call, tmp_path: Path
) -> None:
    path, original = publish("hara_resnet")
    assert t3d("convert", path, "--arch", "resnet3d_tiny").code == 0
    start, run = path.with_suffix(".safetensors"), tmp_path / "run"
    depths = ("--overrides", "ttl_depths=[[1,3,6],[1,3,4],null]")
    flags = ("--arch", "resnet3d_tiny", *depths, "--output", run, *MICRO, "--max-steps", 1, "--lr", 0)
    outcome = t3d("train", dataset, "--init", start, *flags)
    assert outcome.code == 0, outcome.err
    tensors, _ = read_weights(run)
    count = sum(name.startswith("stages.transition") for name in tensors)
    assert f"{start}: all of resnet3d_tiny fits, {count} tensors stay random" in outcome.err
    assert "random: stages.transition1, stages.transition2\n" in outcome.err
    trunk = {name: tensor for name, tensor in original.named_parameters() if not name.startswith("classifier.")}
    assert all(torch.equal(tensors[name], tensor) for name, tensor in trunk.items())


def test_a_published_2d_resnet_is_inflated(publish: Publish, dataset: Path, t3d: Call, tmp_path: Path) -> None:
    path, _ = publish("torchvision_resnet")
    flags = ("--arch", "resnet3d_tiny", "--output", tmp_path / "run", *MICRO, "--max-steps", 1)
    outcome = t3d("train", dataset, "--init", path, "--inflate", "centre", *flags)
    assert outcome.code == 0
    assert "2 stay random" in outcome.err


def test_a_file_without_classifier_is_a_start_and_no_more(publish: Publish, t3d: Call) -> None:
    path, _ = publish("c3d_jfzhang", num_classes=0)
    outcome = t3d("convert", path, "--arch", "c3d_tiny")
    output = path.with_suffix(".safetensors")
    assert outcome.out == (f"{output}: c3d_tiny, no classifier: a start for t3d train --init; read as c3d_jfzhang\n")
    assert "holds no names" not in outcome.err
    refused = t3d("predict", output, "video.mp4")
    assert refused.code == 2
    assert f"{output}: holds a network that names no classes yet; t3d train DATA --init {output}" in refused.err


def test_networks_of_optical_flow_say_so(publish: Publish, t3d: Call) -> None:
    path, _ = publish("i3d", in_channels=2)
    assert t3d("convert", path, "--arch", "inception3d_tiny").code == 0
    _, card = read_weights(path.with_suffix(".safetensors"))
    assert (card.overrides, card.pixels) == (
        {"in_channels": 2},
        PixelSpec(modality="flow", flow_bound=20 / 256),
    )
    assert card.clip == ClipSpec(num_frames=64)
    assert "another method of finding optical flow" in card.training["caveats"][-1]


def _refusal(t3d: Call, path: Path, *flags: object) -> str:
    """The one line that says why nothing was written."""
    before = sorted(path.parent.rglob("*"))
    outcome = t3d("convert", path, *flags)
    assert (outcome.code, outcome.out, outcome.err.count("\n")) == (2, "", 1)
    assert sorted(path.parent.rglob("*")) == before
    prefix = f"t3d: error: {path}: "
    assert outcome.err.startswith(prefix)
    return outcome.err.removeprefix(prefix).rstrip("\n")


class Payload:
    """Would say so if it were unpickled."""

    def __reduce__(self) -> tuple[Any, ...]:
        return print, ("code was run",)


def _save(path: Path, tensors: dict[str, Tensor]) -> Path:
    torch.save(tensors, path)
    return path


def test_files_that_hold_no_tensors_are_refused(publish: Publish, t3d: Call, tmp_path: Path) -> None:
    whole, _ = publish("hara_resnet")
    page, empty, cut, code = (tmp_path / name for name in ("page.pth", "empty.pth", "cut.pth", "code.pth"))
    page.write_text("<!DOCTYPE html><title>Sign in</title>")
    empty.touch()
    cut.write_bytes(whole.read_bytes()[:-2000])
    code.write_bytes(pickle.dumps(Payload()))
    assert _refusal(t3d, page).startswith("no file of PyTorch's, it begins with b'<!DOCTYPE html><titl'")
    for path in (empty, cut, code):
        assert _refusal(t3d, path) == (
            "damaged, or a pickle with code in it, which is not run; save the bare state_dict instead"
        )
    assert _refusal(t3d, tmp_path) == "is a folder; name the weights file in it"
    assert _refusal(t3d, tmp_path / "none.pth") == "no such weights file"
    assert (
        _refusal(t3d, _save(tmp_path / "none.pth", {})) == "holds no tensors by name; save the bare state_dict instead"
    )


def test_weights_of_another_network_are_refused(publish: Publish, t3d: Call, tmp_path: Path) -> None:
    deeper, _ = publish("hara_resnet", blocks=(2, 1, 1, 1))
    text = _refusal(t3d, deeper, "--arch", "resnet3d_tiny")
    assert text == (  # two convolutions, and two norms of five tensors
        "does not fit resnet3d_tiny, the nearest of layout hara_resnet: 0 missing; 12 unexpected "
        "(first 'layer1.1.conv1.weight'); 0 of another shape"
    )
    assert "does not fit resnet3d_10, the nearest of layout hara_resnet" in _refusal(t3d, deeper)
    assert "missing (first 'Conv3d_1a_7x7.conv3d.weight'); " in _refusal(t3d, deeper, "--from", "i3d")
    tensors = {key.removeprefix("module."): value for key, value in torch.load(deeper)["state_dict"].items()}
    type_a = {key: value for key, value in tensors.items() if ".downsample." not in key}
    text = _refusal(t3d, _save(tmp_path / "a.pth", type_a), "--from", "hara_resnet", "--arch", "resnet3d_tiny")
    assert "missing (first 'layer2.0.downsample.0.weight'); 12 unexpected" in text
    one_block = {key: value for key, value in type_a.items() if not key.startswith("layer1.1.")}
    assert _refusal(t3d, _save(tmp_path / "a.pth", one_block), "--arch", "resnet3d_tiny") == (
        "a resnet3d_tiny with shortcuts of type A, which have no weights; only type B is supported"
    )
    assert _refusal(t3d, _save(tmp_path / "b.pth", {"a.weight": torch.zeros(1)})) == (
        f"no layout suits these 1 names: 'a.weight' is not of {', '.join(LAYOUTS)}"
    )


def test_weights_that_are_no_numbers_are_refused(publish: Publish, t3d: Call) -> None:
    path, _ = publish("hara_resnet")
    content = torch.load(path)
    content["state_dict"]["module.layer2.0.conv1.weight"][0, 0, 0, 0, 0] = float("nan")
    torch.save(content, path)
    outcome = t3d("convert", path, "--arch", "resnet3d_tiny")
    assert outcome.code == 2
    assert "stages.block2.0.layers.0.conv.weight (our name) holds values that are no numbers" in outcome.err
    assert not path.with_suffix(".safetensors").exists()


def test_what_is_there_is_not_written_over(publish: Publish, t3d: Call) -> None:
    path, _ = publish("hara_resnet")
    assert t3d("convert", path, "--arch", "resnet3d_tiny").code == 0
    output = path.with_suffix(".safetensors")
    written = output.read_bytes()
    outcome = t3d("convert", path, "--arch", "resnet3d_tiny")
    assert (outcome.code, outcome.err) == (2, f"t3d: error: {output}: exists; name another --output\n")
    assert output.read_bytes() == written
    with pytest.raises(ConfigError, match=r"--output ours\.pth must end in \.safetensors"):
        ConvertConfig(file=path, output=Path("ours.pth"))


def test_labels_that_do_not_suit_are_refused(publish: Publish, labels: Path, t3d: Call) -> None:
    path, _ = publish("hara_resnet", num_classes=3)
    outcome = t3d("convert", path, "--arch", "resnet3d_tiny", "--labels", labels)
    assert (outcome.code, outcome.err) == (2, f"t3d: error: {labels}: names 2 classes, but {path} has 3\n")
    assert not path.with_suffix(".safetensors").exists()
