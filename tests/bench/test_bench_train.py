from collections.abc import Sequence

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from arms import LIMITS, Instant
from t3d.bench import train
from t3d.bench.agreement import Agreement
from t3d.bench.train import LITERAL, Way, bench_train, training_step

SHAPE = (2, 3, 4, 32, 32)
CLASSES = 3


class _Small(nn.Module):
    """What stands for a network: one convolution, and a classifier of its mean."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv3d(3, 4, 3, padding=1)
        self.classifier = nn.Linear(4, CLASSES)

    def forward(self, clips: torch.Tensor) -> torch.Tensor:
        return self.classifier(self.conv(clips).mean(dim=(2, 3, 4)))


@pytest.fixture
def networks(monkeypatch: pytest.MonkeyPatch) -> list[tuple[_Small, bool]]:
    """Every network that is built, and whether it was to be the literal one."""
    built: list[tuple[_Small, bool]] = []

    def build(arch: str, *, literal: bool = False, device: str = "cpu") -> _Small:
        with torch.device(device):
            built.append((_Small(), literal))
        return built[-1][0]

    monkeypatch.setattr(train, "build_network", build)
    return built


@pytest.mark.parametrize("channels_last", [False, True])
def test_a_step_is_one_update(channels_last: bool, networks: Sequence[tuple[_Small, bool]]) -> None:
    """p - lr * (g + decay * p) * (1 + momentum): of the first step, by Nesterov."""
    way = Way(name="ours", channels_last=channels_last)
    torch.manual_seed(0)
    step = training_step(arch="small", shape=SHAPE, way=way, device="cpu")
    (network, _) = networks[0]
    torch.manual_seed(0)
    twin = _Small()
    clips = torch.rand(SHAPE)
    F.cross_entropy(twin(clips), torch.zeros(2, dtype=torch.int64)).backward()
    step()
    for own, other in zip(network.parameters(), twin.parameters(), strict=True):
        assert other.grad is not None
        expected = other - 1e-3 * 1.9 * (other.grad + 1e-4 * other)
        torch.testing.assert_close(own.detach(), expected.detach(), rtol=1e-5, atol=1e-7)


def test_bf16_is_in_the_forward_pass_only(networks: Sequence[tuple[_Small, bool]]) -> None:
    step = training_step(arch="small", shape=SHAPE, way=Way(name="bf16", precision="bf16"), device="cpu")
    (network, _) = networks[0]
    seen: list[torch.dtype] = []
    network.conv.register_forward_hook(lambda module, inputs, output: seen.append(output.dtype))
    step()
    assert seen == [torch.bfloat16]
    assert {parameter.dtype for parameter in network.parameters()} == {torch.float32}


def test_steps_are_counted_forward_and_backward(networks: Sequence[tuple[_Small, bool]]) -> None:
    """27 x 3 x 4 weights at 2 x 4 x 32 x 32 places, forward, and backward for the weights only, not for the clips."""
    convolution = 2 * 27 * 3 * 4 * (2 * 4 * 32 * 32)
    linear = 2 * 2 * 4 * CLASSES
    assert (
        train._count("small", SHAPE, Way(name="bf16", precision="bf16", compile=True)) == 2 * convolution + 3 * linear
    )


def test_ours_stands_alone_where_nothing_was_written_plainly(monkeypatch: pytest.MonkeyPatch) -> None:
    instant = Instant()
    monkeypatch.setattr(train, "measure", instant)
    steps, memory = _bench("t3d_tiny", (2, 3, 16, 32, 32))
    assert instant.calls == [
        ["ours", "ours, recompute", "ours, bf16", "ours, bf16, channels last"],
        ["ours", "ours, recompute", "ours, recompute, bf16, channels last"],
    ]
    assert "2 x 3 x 16 x 32 x 32" in steps.title
    assert "2 x 3 x 32 x 32 x 32" in memory.title
    assert steps.targets == memory.targets == []
    assert [row.limit for row in steps.rows] == [2e9, 2e9, 4e9, 4e9]  # the better of product and convolution
    plain, recomputed, *_ = (row.flops for row in memory.rows)
    assert plain is not None
    assert recomputed is not None
    assert plain < recomputed < 4 / 3 * plain  # at most the forward pass once more


def test_only_dense_blocks_are_recomputed(monkeypatch: pytest.MonkeyPatch) -> None:
    instant = Instant()
    monkeypatch.setattr(train, "measure", instant)
    _bench("resnet3d_tiny", (2, 3, 16, 32, 32))
    assert instant.calls == [["ours", "ours, bf16", "ours, bf16, channels last"], ["ours"]]


def test_targets_are_those_of_the_settings_they_were_set_for(
    monkeypatch: pytest.MonkeyPatch, networks: Sequence[tuple[_Small, bool]]
) -> None:
    monkeypatch.setattr(train, "measure", Instant())
    monkeypatch.setattr(train, "recompute", lambda network: None)
    same = Agreement(targets=[], note="the same")
    monkeypatch.setattr(train, "agreement", lambda arch, shape, *, exact_shape: same)
    for name in ("_AIMED_AT", "_LONGER"):
        monkeypatch.setattr(train, name, SHAPE if name == "_AIMED_AT" else (2, 3, 8, 32, 32))
    steps, memory = _bench("t3d_121", SHAPE)
    assert [literal for _, literal in networks][:2] == [True, False]
    assert [(target.unit, target.bound, target.reached) for target in (*steps.targets, *memory.targets)] == [
        ("x faster", 2.0, 0.5),  # ours comes second, and the n-th arm takes n seconds
        ("x faster", 4.0, 1.0),
        ("x the memory", 0.5, 3.0),
        ("x the time", 1.35, 3.0),
    ]
    (dense, _) = _bench("densenet3d_121", SHAPE)
    assert [(target.unit, target.bound) for target in dense.targets] == [("x faster", 1.3)]
    (other, _) = _bench("t3d_121", (3, *SHAPE[1:]))
    assert other.targets == []


def test_literal_comes_first_and_every_way_has_its_name() -> None:
    assert train._WAYS[0] == train._FRUGAL[0] == LITERAL
    assert len({way.name for way in (*train._WAYS, *train._COMPILED)}) == len(train._WAYS) + len(train._COMPILED)


def _bench(arch: str, shape: tuple[int, int, int, int, int]) -> list[train.Table]:
    return bench_train(arch, shape, rounds=1, threads=1, device="cpu", compiled=False)(LIMITS)
