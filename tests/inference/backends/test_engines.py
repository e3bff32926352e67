import sys
from collections.abc import Callable
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
import torch

from t3d.errors import CheckpointError, ConfigError
from t3d.inference.backends import BACKENDS, backend_of, read_export
from t3d.inference.backends import openvino as openvino_graph
from t3d.inference.backends.base import Export, releases, to_text
from t3d.inference.backends.openvino import load_openvino
from t3d.inference.export import noise_clips
from t3d.inference.graph import clip_shape
from t3d.inference.scorer import torch_scorer

Translated = Callable[..., Any]

SUBJECTS = [
    ("openvino", "t3d_tiny", "rgb"),
    ("openvino", "resnet3d_tiny_ttl", "difference"),
    ("onnxruntime", "t3d_tiny", "rgb"),
    ("torch", "t3d_tiny", "flow"),
]


def _write(folder: Path, subject: Any, engine: str, export: Export) -> Path:  # noqa: ANN401
    path = folder / f"network{BACKENDS[engine].suffixes[0]}"
    BACKENDS[engine].save(subject.model, path, to_text(subject.card, export))
    return path


@pytest.mark.parametrize(("engine", "arch", "modality"), SUBJECTS)
def test_a_file_gives_back_card_and_logits_for_any_number_of_clips(
    engine: str, arch: str, modality: str, translated: Translated, export: Export, tmp_path: Path
) -> None:
    subject = translated(engine, arch, modality)
    path = _write(tmp_path, subject, engine, export)
    assert {file.suffix for file in tmp_path.iterdir()} == set(BACKENDS[engine].suffixes)
    assert backend_of(path) is BACKENDS[engine]
    model, card, told = read_export(path, BACKENDS[engine])
    assert (card, told) == (subject.card, export)
    score, reference = BACKENDS[engine].start(model, "float32"), torch_scorer(subject.network, card.pixels)
    for count in (1, 5, 2):
        clips = noise_clips(clip_shape(card), count)
        expected = reference(clips)
        assert score(clips).dtype == torch.float32
        torch.testing.assert_close(score(clips), expected, rtol=0, atol=1e-5 * float(expected.abs().max()))


def test_scores_do_not_change_with_the_next_clips(translated: Translated) -> None:
    subject = translated("openvino")
    score = BACKENDS["openvino"].start(subject.model, "float32")
    one, other = noise_clips(clip_shape(subject.card), 2).split(1)
    first = score(one)
    kept = first.clone()
    assert not score(other).equal(kept)
    assert first.equal(kept)


def test_bf16_is_computed_where_it_is_asked_for_only(translated: Translated) -> None:
    """Eight bits of mantissa: a hundredth or so, not a ten-thousandth."""
    subject = translated("openvino")
    if "BF16" not in load_openvino().Core().get_property("CPU", "OPTIMIZATION_CAPABILITIES"):
        pytest.skip("this processor has no bf16")
    clips = noise_clips(clip_shape(subject.card), 4)
    expected = torch_scorer(subject.network, subject.card.pixels)(clips)
    errors = {
        precision: float((BACKENDS["openvino"].start(subject.model, precision)(clips) - expected).abs().max())
        for precision in ("float32", "bf16")
    }
    assert errors["float32"] < 1e-5 * float(expected.abs().max()) < errors["bf16"] < 0.05 * float(expected.abs().max())


def test_a_precision_the_processor_lacks_is_refused(translated: Translated, monkeypatch: pytest.MonkeyPatch) -> None:
    """OpenVINO takes another one without a word; here it is told to."""
    subject = translated("openvino")
    monkeypatch.setitem(openvino_graph._HINTS, "bf16", "f16")  # which its CPUs compute in bf16, or in float32
    with pytest.raises(ConfigError, match=r"OpenVINO computes in (bf16|f32) on this processor, not in bf16; use"):
        BACKENDS["openvino"].start(subject.model, "bf16")


@pytest.mark.parametrize("name", BACKENDS)
def test_a_missing_file_is_named(name: str, tmp_path: Path) -> None:
    path = tmp_path / f"absent{BACKENDS[name].suffixes[0]}"
    with pytest.raises(CheckpointError, match=r"absent\.\w+: no such file"):
        read_export(path, BACKENDS[name])


@pytest.mark.parametrize("name", BACKENDS)
def test_a_damaged_file_is_named(name: str, translated: Translated, export: Export, tmp_path: Path) -> None:
    path = _write(tmp_path, translated(name), name, export)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with pytest.raises(CheckpointError, match=r"network\.\w+: cannot be read .*; export the weights again"):
        read_export(path, BACKENDS[name])


def test_a_graph_of_others_is_refused(tmp_path: Path) -> None:
    pytest.importorskip("onnx")
    from onnx import TensorProto, helper

    ends = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [1]) for name in ("x", "y")]
    graph = helper.make_graph([helper.make_node("Relu", ["x"], ["y"])], "foreign", ends[:1], ends[1:])
    (tmp_path / "foreign.onnx").write_bytes(helper.make_model(graph).SerializeToString())
    with pytest.raises(CheckpointError, match=r"foreign\.onnx: holds a network but no t3d description"):
        read_export(tmp_path / "foreign.onnx", BACKENDS["onnxruntime"])


@pytest.mark.skipif(find_spec("openvino") is None, reason="openvino is not installed")
def test_a_graph_of_others_for_openvino_is_refused(tmp_path: Path) -> None:
    openvino = load_openvino()
    given = openvino.opset13.parameter([1])
    path = tmp_path / "foreign.xml"
    openvino.serialize(openvino.Model([openvino.opset13.relu(given)], [given]), path, path.with_suffix(".bin"))
    with pytest.raises(CheckpointError, match=r"foreign\.xml: holds a network but no t3d description"):
        read_export(path, BACKENDS["openvino"])


@pytest.mark.parametrize("harm", ["flip", "cut", "remove"])
def test_weights_that_are_not_the_graphs_are_refused(
    harm: str, translated: Translated, export: Export, tmp_path: Path
) -> None:
    path = _write(tmp_path, translated("openvino"), "openvino", export)
    weights = path.with_suffix(".bin")
    content = bytearray(weights.read_bytes())
    content[len(content) // 2] ^= 64
    weights.write_bytes(content[:-4] if harm == "cut" else content)
    if harm == "remove":
        weights.unlink()
    with pytest.raises(CheckpointError, match=r"network\.xml: cannot be read"):
        read_export(path, BACKENDS["openvino"])


def test_what_is_no_export_has_no_engine() -> None:
    assert backend_of(Path("runs/a")) is None
    assert backend_of(Path("weights.safetensors")) is None


@pytest.mark.parametrize(
    ("name", "package", "says"),
    [
        ("openvino", "openvino", r"openvino is not installed; install 't3d\[openvino\]'"),
        ("onnxruntime", "onnx", r"onnx is not installed; install 't3d\[onnx\]'"),
    ],
)
def test_an_engine_that_is_not_installed_is_named(
    name: str, package: str, says: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, package, None)
    path = tmp_path / f"any{BACKENDS[name].suffixes[0]}"
    path.write_text("anything")
    with pytest.raises(ConfigError, match=says):
        read_export(path, BACKENDS[name])


def test_releases_are_those_installed() -> None:
    assert releases(["torch"], "openvino") == {"torch": version("torch")}
    with pytest.raises(ConfigError, match=r"no-such-package is not installed; install 't3d\[openvino\]'"):
        releases(["torch", "no-such-package"], "openvino")


@pytest.mark.skipif(find_spec("openvino") is None, reason="openvino is not installed")
def test_openvino_reports_to_nobody() -> None:
    load_openvino()
    assert sys.modules["openvino_telemetry"] is None


def test_what_is_left_of_a_copy_is_said_in_plain_words(
    translated: Translated, export: Export, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    half = tmp_path / "half.xml"
    half.write_text("<net/>")
    with pytest.raises(CheckpointError, match=r"half\.bin, its other half, is missing"):
        read_export(half, BACKENDS["openvino"])
    for name, suffix in (("torch", ".pt2"), ("onnxruntime", ".onnx")):
        empty = tmp_path / f"empty{suffix}"
        empty.touch()
        with pytest.raises(CheckpointError, match=f"empty{suffix}: is empty; export the weights again"):
            read_export(empty, BACKENDS[name])
    cut = _write(tmp_path, translated("torch"), "torch", export)
    cut.write_bytes(cut.read_bytes()[:2000])
    with pytest.raises(CheckpointError, match="not a whole archive"):
        read_export(cut, BACKENDS["torch"])
    assert caplog.text == ""


def test_the_case_of_a_suffix_does_not_count() -> None:
    assert backend_of(Path("A.ONNX")) is BACKENDS["onnxruntime"]
