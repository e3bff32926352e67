"""Every family goes the whole way from videos to a report, by the same commands."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from program import MICRO, TRANSFER, Call
from t3d.commands._training import network_overrides
from t3d.config import ModelOptions
from t3d.models.checkpoints import load_model, read_weights
from t3d.run_files import MATCHER_NAME
from t3d.video.spec import PixelSpec

TINY = ("c3d_tiny", "inception3d_tiny_ttl", "resnet3d_tiny_ttl")
"""The families that the other tests of this folder do not try."""


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({"arch": "c3d"}, {}),  # with the dropout of the network
        ({"arch": "c3d", "dropout": 0.0}, {"dropout": 0.0}),
        ({"arch": "c3d", "head": "mean"}, {"head": "mean"}),
        ({"arch": "i3d", "head": "mean"}, {"head": "mean"}),
        ({"arch": "resnet3d_18", "head": "mean"}, {}),  # is its head
        ({"arch": "t3d_121", "head": "mean", "keep_last_plane": True}, {"keep_last_plane": True}),
        ({"arch": "i3d", "twin": True}, {"flat": True, "head": "mean"}),
        ({"arch": "c3d", "head": "mean", "overrides": ('head="fc"',)}, {"head": "fc"}),
    ],
)
def test_flags_become_literals(options: dict[str, Any], expected: dict[str, Any]) -> None:
    assert network_overrides(ModelOptions(**options), PixelSpec()) == expected


@pytest.mark.parametrize("arch", TINY)
def test_train_then_evaluate(arch: str, t3d: Call, dataset: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    flags = ("--layer-decay", 0.5, "--freeze", 1, "--dropout", 0.1, "--ema-decay", 0.9)
    outcome = t3d("train", dataset, "--output", run, "--arch", arch, *MICRO, "--max-steps", 2, *flags)
    assert outcome.code == 0, outcome.err
    outcome = t3d("evaluate", run, "--workers", 0, "--accelerator", "cpu")
    assert outcome.code == 0, outcome.err
    metrics = json.loads((run / "metrics.json").read_text())
    assert metrics["model"]["arch"] == arch
    assert metrics["model"]["overrides"] == {"dropout": 0.1, "keep_last_plane": True}
    assert arch in (run / "report.html").read_text()


@pytest.mark.parametrize("arch", TINY)
def test_the_2d_twin_starts_the_3d_network(arch: str, t3d: Call, dataset: Path, tmp_path: Path) -> None:
    flat, solid = tmp_path / "flat", tmp_path / "solid"
    common = (dataset, "--arch", arch, *MICRO, "--max-steps", 1)
    outcome = t3d("train", *common, "--num-frames", 1, "--twin", "--output", flat)
    assert outcome.code == 0, outcome.err
    outcome = t3d("train", *common, "--init", flat, "--output", solid)
    assert (outcome.code, "it is a 2D twin: give --inflate centre" in outcome.err) == (2, True), outcome.err
    outcome = t3d("train", *common, "--init", flat, "--inflate", "centre", "--lr", 0, "--output", solid)
    assert outcome.code == 0, outcome.err
    assert " 0 stay random" in outcome.err
    kernel, twin = (load_model(run)[0].stem[0].state_dict() for run in (solid, flat))
    name = next(name for name, tensor in kernel.items() if tensor.ndim == 5)
    assert torch.equal(kernel[name][:, :, kernel[name].shape[2] // 2], twin[name][:, :, 0])


@pytest.mark.parametrize("arch", ["inception3d_tiny"])
def test_a_transfer_starts_a_training_that_keeps_its_layer(arch: str, t3d: Call, dataset: Path, tmp_path: Path) -> None:
    student, run = tmp_path / "student", tmp_path / "run"
    outcome = t3d("transfer", dataset, "--output", student, "--arch", arch, *TRANSFER, "--max-steps", 2)
    assert outcome.code == 0, outcome.err
    start = ("--init", student, "--keep-fc", "--lr", 0, "--ema-decay", 0)
    outcome = t3d("train", dataset, "--output", run, "--arch", arch, *MICRO, "--max-steps", 1, *start)
    assert outcome.code == 0, outcome.err
    taught, _ = read_weights(student)
    model = load_model(run)[0]
    own = {name: weight for name, weight in model.named_parameters() if not name.startswith(("neck.", "classifier."))}
    assert all(torch.equal(weight, taught[name]) for name, weight in own.items())
    layer = load_file(student / MATCHER_NAME)
    assert torch.equal(model.neck.weight, layer["student.weight"])


@pytest.mark.parametrize(
    ("flags", "says"),
    [
        (("--arch", "c3d"), "use more frames or a larger crop, or --head mean"),
        (("--arch", "c3d", "--overrides", "flat=true"), "give --head mean"),
        (("--arch", "c3d_tiny", "--overrides", "keep_last_plane=false"), "a larger crop, or --keep-last-plane"),
        (("--arch", "resnet3d_tiny", "--ttl-compress"), "unknown option 'ttl_compress'; choose from blocks, "),
    ],
)
def test_what_a_network_does_not_take_is_refused(
    flags: tuple[str, ...], says: str, t3d: Call, dataset: Path, tmp_path: Path
) -> None:
    outcome = t3d("train", dataset, "--output", tmp_path / "run", *MICRO, *flags)
    assert (outcome.code, says in outcome.err, outcome.err.count("\n")) == (2, True, 1), outcome.err
    assert not (tmp_path / "run").exists()
