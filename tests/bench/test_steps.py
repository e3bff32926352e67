from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from benchmarks.infer import literal_scoring_step
from benchmarks.train import literal_work
from t3d.bench.steps import (
    ScoreSettings,
    TrainSettings,
    check_clips,
    count_flops,
    forward_step,
    scoring_step,
    training_network,
    training_step,
    unavailable,
)
from t3d.errors import ConfigError
from t3d.models import create_model
from t3d.models.summary import fit

SHAPE = (2, 3, 4, 8, 8)
CLASSES = 3


class _Small(nn.Module):
    """What stands for a network: one convolution, and a classifier of its mean."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv3d(3, 4, 3, padding=1)
        self.classifier = nn.Linear(4, CLASSES)
        self.seen: list[torch.dtype] = []

    def forward(self, clips: torch.Tensor) -> torch.Tensor:
        features = self.conv(clips)
        self.seen.append(features.dtype)
        return self.classifier(features.mean(dim=(2, 3, 4)))


def _small(arch: str, settings: TrainSettings) -> _Small:
    return _Small()


@pytest.mark.parametrize("channels_last", [False, True])
def test_a_training_step_is_one_update(channels_last: bool) -> None:
    """p - lr * (g + decay * p) * (1 + momentum): of the first step, by Nesterov."""
    torch.manual_seed(0)
    network = _Small()
    twin = _Small()
    twin.load_state_dict(network.state_dict())
    settings = TrainSettings(name="any", channels_last=channels_last)
    torch.manual_seed(1)
    step = training_step(arch="", shape=SHAPE, settings=settings, device="cpu", build=lambda *_: network)
    torch.manual_seed(1)
    F.cross_entropy(twin(torch.rand(SHAPE)), torch.zeros(2, dtype=torch.int64)).backward()
    step()
    for own, other in zip(network.parameters(), twin.parameters(), strict=True):
        assert other.grad is not None
        expected = other - 1e-3 * 1.9 * (other.grad + 1e-4 * other)
        torch.testing.assert_close(own.detach(), expected.detach(), rtol=1e-5, atol=1e-7)


def test_bf16_is_in_the_forward_pass_only() -> None:
    network = _Small()
    settings = TrainSettings(name="bf16", precision="bf16")
    training_step(arch="", shape=SHAPE, settings=settings, device="cpu", build=lambda *_: network)()
    assert network.seen == [torch.bfloat16]
    assert {parameter.dtype for parameter in network.parameters()} == {torch.float32}


def test_operations_are_counted_forward_and_backward() -> None:
    """27 x 3 x 4 weights at 2 x 4 x 8 x 8 places, forward, and backward for the weights only, not for the clips."""
    convolution = 2 * 27 * 3 * 4 * (2 * 4 * 8 * 8)
    linear = 2 * 2 * 4 * CLASSES
    counted = count_flops(training_step, arch="", shape=SHAPE, settings=TrainSettings(name="any"), build=_small)
    assert counted == 2 * convolution + 3 * linear


def test_plain_and_accelerated_steps_compute_the_same() -> None:
    clips = torch.randn(2, 3, 16, 32, 32, generator=torch.Generator().manual_seed(0))
    gradients = []
    for accelerated in (False, True):
        settings = TrainSettings(name="any", accelerated=accelerated)
        network = training_network("t3d_tiny", settings, generator=torch.Generator().manual_seed(0)).double()
        F.cross_entropy(network(clips.double()), torch.arange(2)).backward()
        gradients.append({name: parameter.grad for name, parameter in network.named_parameters()})
    plain, accelerated = gradients
    assert plain.keys() == accelerated.keys()
    for name in plain:
        torch.testing.assert_close(accelerated[name], plain[name], rtol=1e-6, atol=1e-9)


def test_a_forward_pass_costs_less_than_the_list_of_networks_says_and_takes_overrides() -> None:
    found = fit("t3d_tiny", (16, 32, 32))
    assert found is not None
    whole = count_flops(forward_step, arch="t3d_tiny", shape=(3, 3, 16, 32, 32))
    assert whole < 3 * found.gflops * 1e9  # counted of the plain network
    assert 0 < count_flops(forward_step, arch="t3d_tiny", shape=(3, 3, 16, 32, 32), growth_rate=4) < whole


def test_a_run_is_scored_by_pytorch_in_both_precisions(trained: Path) -> None:
    shape = (1, 3, 4, 32, 32)
    plain, rounded = (
        scoring_step(source=trained, shape=shape, settings=ScoreSettings(precision=precision), device="cpu")()
        for precision in ("float32", "bf16")
    )
    assert isinstance(plain, torch.Tensor)
    assert plain.shape == (1, 2)
    assert 0 < (rounded - plain).abs().max() < 0.05 * plain.abs().max()


@pytest.mark.slow
def test_an_engine_scores_in_int8(trained: Path) -> None:
    for package in ("openvino", "nncf"):
        pytest.importorskip(package)
    settings = ScoreSettings(name="int8", engine="openvino", precision="int8")
    scores = scoring_step(source=trained, shape=(1, 3, 4, 32, 32), settings=settings, device="cpu")()
    assert isinstance(scores, torch.Tensor)
    assert scores.shape == (1, 2)
    assert scores.isfinite().all()


def test_an_engine_that_is_not_installed_is_skipped(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(packages: object, extra: str) -> dict[str, str]:
        raise ConfigError(f"install 't3d[{extra}]'")

    monkeypatch.setattr("t3d.inference.backends.base.releases", missing)
    assert "t3d[onnx]" in unavailable(ScoreSettings(name="x", engine="onnxruntime"), "cpu")


def test_clips_that_a_network_does_not_take_are_refused() -> None:
    check_clips("t3d_tiny", (1, 3, 16, 32, 32), training=False)
    with pytest.raises(ConfigError, match="--batch-size"):
        check_clips("t3d_tiny", (1, 3, 16, 32, 32), training=True)


def test_networks_are_as_created() -> None:
    """The settings change how a step is computed, not what the network is."""
    for settings in (TrainSettings(name="a", accelerated=False), TrainSettings(name="b", recompute=True)):
        assert (
            training_network("t3d_tiny", settings).state_dict().keys() == create_model("t3d_tiny").state_dict().keys()
        )


def test_the_literal_network_is_trained_and_scored() -> None:
    arch, shape = "densenet3d_121", (2, 3, 16, 32, 32)
    work = literal_work(arch, shape, device="meta")
    work.variant.build(**work.variant.arguments)()
    scores = literal_scoring_step(arch=arch, shape=(1, *shape[1:]), device="cpu")()
    assert isinstance(scores, torch.Tensor)
    assert scores.shape == (1, 400)
