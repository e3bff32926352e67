"""That commands check what they compute with, and then compute so; the check itself is in tests/engine."""

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from program import FEW, MICRO, TRANSFER, Call
from t3d.commands import _devices as devices
from t3d.config import Precision
from t3d.inference.numerics_check import Convolution
from t3d.models.checkpoints import read_weights
from t3d.models.fast.convolutions import Conv3dCall as Convolved
from t3d.models.fast.convolutions import Conv3dOverride
from t3d.training.callbacks import RunCallbacks
from t3d.training.loop import Learner

CPU = torch.device("cpu")
RESNET = ("--arch", "resnet3d_tiny")


def _broken_in_bfloat16(call: Convolved) -> Tensor:
    output = torch.conv3d(*call)
    return output * 1.1 if call.weight.dtype == torch.bfloat16 else output


@pytest.fixture
def seen(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    """What was to be compared; says that it took five times as long."""
    calls: list[dict[str, Any]] = []

    def check(convolutions: list[Convolution], **named: object) -> float:
        calls.append({"convolutions": convolutions, **named})
        return 5.0

    monkeypatch.setattr(devices, "check_convolutions", check)
    return calls


@pytest.mark.parametrize("verb", ["train", "transfer"])
def test_learning_with_broken_arithmetic_is_refused_before_anything_is_written(
    verb: str, t3d: Call, dataset: Path, tmp_path: Path
) -> None:
    flags = (*_usual(verb), *RESNET, "--precision", "bf16-mixed")
    with Conv3dOverride(_broken_in_bfloat16):
        outcome = t3d(verb, dataset, "--output", tmp_path / "run", *flags)
    assert outcome.code == 2
    assert outcome.err.count("\n") == 1
    assert "computes wrongly in bfloat16" in outcome.err
    assert outcome.err.endswith("use --precision 32-true\n")
    assert list(tmp_path.iterdir()) == []


def test_scoring_with_broken_arithmetic_is_refused(t3d: Call, small_run: Path, dataset: Path, tmp_path: Path) -> None:
    flags = ("--precision", "bf16-mixed", "--accelerator", "cpu")
    with Conv3dOverride(_broken_in_bfloat16):
        for command in (
            ("evaluate", small_run, "--output", tmp_path / "out", *flags),
            ("predict", small_run, dataset.parent / "clips" / "test0.mp4", *flags),
        ):
            outcome = t3d(*command)
            assert outcome.code == 2
            assert "the result of a" in outcome.err
    assert list(tmp_path.iterdir()) == []


def test_float32_on_a_cpu_is_trusted(seen: list[dict[str, Any]], t3d: Call, dataset: Path, tmp_path: Path) -> None:
    assert t3d("train", dataset, "--output", tmp_path / "run", *MICRO, *FEW, "--max-steps", "1").code == 0
    assert seen == []


@pytest.mark.parametrize(
    ("device", "precision", "wanted"),
    [
        ("cpu", "32-true", False),
        ("cpu", "bf16-mixed", True),
        ("cuda", "32-true", True),
        ("cuda", "16-mixed", True),
        ("mps", "32-true", False),  # has no float64 to compare with
    ],
)
def test_what_has_been_seen_to_go_wrong_is_checked(device: str, precision: Precision, wanted: bool) -> None:
    assert devices.wants_check(torch.device(device), precision) is wanted


@pytest.mark.parametrize(("precision", "finer"), [("32-true", "float64"), ("bf16-mixed", "float32")])
def test_slowness_is_told_against_the_precision_it_was_compared_with(
    seen: list[dict[str, Any]], precision: Precision, finer: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with torch.device("meta"):
        network = nn.Conv3d(3, 3, 1)
    devices.check_numerics(network, (1, 3, 2, 8, 8), device=CPU, precision=precision, learns=False)
    assert len(seen) == 1
    assert f"--precision {precision} takes 5 times as long as {finer} here" in capsys.readouterr().err


def test_a_check_is_of_the_clips_that_will_come_and_warns_of_slowness(
    seen: list[dict[str, Any]], t3d: Call, small_run: Path
) -> None:
    outcome = t3d("evaluate", small_run, "--precision", "bf16-mixed", "--accelerator", "cpu", "--subset", "train")
    assert outcome.code == 0
    assert "--precision bf16-mixed takes 5 times as long as float32 here" in outcome.err
    (call,) = seen
    assert (call["precision"], call["gradients"], call["device"]) == (torch.bfloat16, False, CPU)
    assert call["convolutions"][0].inputs == (2, 3, 4, 32, 32)


@pytest.mark.parametrize(("channels_last", "order"), [(False, torch.contiguous_format), (True, torch.channels_last_3d)])
def test_learning_is_checked_with_its_gradients_and_order(
    seen: list[dict[str, Any]], channels_last: bool, order: torch.memory_format
) -> None:
    with torch.device("meta"):
        network = nn.Conv3d(2, 3, 3, padding=1)
    devices.check_numerics(
        network, (9, 2, 2, 8, 8), device=CPU, precision="bf16-mixed", learns=True, channels_last=channels_last
    )
    (call,) = seen
    assert (call["gradients"], call["memory_format"]) == (True, order)
    assert call["convolutions"] == [Convolution((2, 2, 4, 8, 8), (3, 2, 3, 3, 3), (1, 1, 1), (0, 1, 1))]  # as padded


@pytest.mark.parametrize(
    ("device", "precision", "padded"),
    [("cpu", "bf16-mixed", True), ("cpu", "32-true", False), ("cuda", "bf16-mixed", False)],
)
def test_only_bfloat16_on_a_cpu_is_padded(device: str, precision: Precision, padded: bool) -> None:
    context = devices.computing(torch.device(device), precision=precision)
    assert isinstance(context, Conv3dOverride) is padded


@pytest.mark.parametrize(
    ("verb", "flags"),
    [("train", RESNET), ("train", (*FEW, "--channels-last", "--recompute")), ("transfer", FEW)],
)
def test_learning_in_bf16_on_a_cpu_ends_in_finite_weights(
    verb: str, flags: tuple[str, ...], t3d: Call, dataset: Path, tmp_path: Path
) -> None:
    """Clips have four frames; the stem of a ResNet3D is seven deep, and T3D comes down to two and one."""
    given = (*_usual(verb), *flags, "--precision", "bf16-mixed", "--max-steps", "3")
    assert t3d(verb, dataset, "--output", tmp_path / "run", *given).code == 0
    tensors, _ = read_weights(tmp_path / "run")
    assert all(tensor.isfinite().all() for tensor in tensors.values())


def test_a_run_in_bf16_resumes_bit_for_bit(
    t3d: Call, dataset: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    flags = (*MICRO, *FEW, "--precision", "bf16-mixed", "--channels-last", "--recompute", "--max-steps", "6")
    assert t3d("train", dataset, "--output", tmp_path / "whole", *flags).code == 0
    on_step = RunCallbacks.on_step

    def interrupt(callbacks: RunCallbacks, learner: Learner) -> None:
        callbacks.interrupted = learner.progress.step == 3
        on_step(callbacks, learner)

    with monkeypatch.context() as patch:
        patch.setattr(RunCallbacks, "on_step", interrupt)
        assert t3d("train", dataset, "--output", tmp_path / "parts", *flags).code == 130
    refused = t3d("train", dataset, "--output", tmp_path / "parts", *MICRO, *FEW, "--max-steps", "6", "--resume")
    assert "was started with --precision bf16-mixed" in refused.err
    assert t3d("train", dataset, "--output", tmp_path / "parts", *flags, "--resume").code == 0
    (whole, _), (parts, _) = (read_weights(tmp_path / name) for name in ("whole", "parts"))
    assert all(torch.equal(parts[name], tensor) for name, tensor in whole.items())


def _usual(verb: str) -> tuple[str, ...]:
    return MICRO if verb == "train" else TRANSFER
