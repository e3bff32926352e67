"""A stem that pools first: what it gives and learns, and when it leaves the work to the plain layers."""

from copy import deepcopy

import pytest
import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from t3d.models.fast import stem as fast
from t3d.models.fast.stem import FusedStem
from t3d.models.fast.training import accelerate, undo_acceleration
from t3d.models.t3d import DenseNetSpec, Stem

SIZES = [(2, 8, 16, 16), (1, 5, 9, 11), (3, 4, 7, 8)]
TABLE_1 = DenseNetSpec(stem_channels=6)
OTHERS = [
    TABLE_1,
    DenseNetSpec(stem_channels=6, stem_pool_stride=(2, 2, 2)),
    DenseNetSpec(
        stem_channels=6, stem_kernel=(1, 3, 3), stem_stride=(1, 2, 1), stem_pool_kernel=(1, 3, 1), in_channels=2
    ),
]


def plain_stem(spec: DenseNetSpec = TABLE_1, *, dtype: torch.dtype = torch.float64) -> Stem:
    """With random scales of both signs, and biases."""
    torch.manual_seed(0)
    stem = Stem(spec)
    nn.init.normal_(stem.norm.weight)
    nn.init.normal_(stem.norm.bias)
    return stem.to(dtype).train()


def clips(size: tuple[int, ...], *, channels: int = 3, dtype: torch.dtype = torch.float64) -> Tensor:
    generator = torch.Generator().manual_seed(1)
    return torch.randn(size[0], channels, *size[1:], generator=generator, dtype=torch.float64).to(dtype)


def stepped(stem: nn.Module, inputs: Tensor) -> list[Tensor]:
    """What a step gives: maps, gradients and buffers."""
    out = stem(inputs)
    pull = torch.linspace(-1, 1, out.numel(), dtype=torch.float64).view_as(out)
    (out * pull.to(out.dtype)).sum().backward()
    return [out.detach(), *(parameter.grad for parameter in stem.parameters()), *stem.buffers()]


def uses_fused(stem: nn.Module, inputs: Tensor, monkeypatch: pytest.MonkeyPatch) -> bool:
    """Whether it fails without the fused step."""
    with monkeypatch.context() as patch:
        patch.delattr(fast, "StemFunction")
        try:
            stem(inputs)
        except NameError:
            return True
    return False


@pytest.mark.parametrize("spec", OTHERS)
@pytest.mark.parametrize("size", SIZES)
def test_a_step_is_that_of_the_plain_layers(spec: DenseNetSpec, size: tuple[int, ...]) -> None:
    plain, inputs = plain_stem(spec), clips(size, channels=spec.in_channels)
    ours = accelerate(deepcopy(plain))
    assert type(ours) is FusedStem
    for found, expected in zip(stepped(ours, inputs), stepped(plain, inputs), strict=True):
        torch.testing.assert_close(found, expected, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("size", SIZES)
def test_float32_is_as_near_to_float64_as_that_of_the_plain_layers(size: tuple[int, ...]) -> None:
    plain = plain_stem(dtype=torch.float32)
    ours, exact = accelerate(deepcopy(plain)), deepcopy(plain).double()
    inputs = clips(size, dtype=torch.float32)
    for found, expected in zip(stepped(ours, inputs), stepped(exact, inputs.double()), strict=True):
        torch.testing.assert_close(found.double(), expected.double(), rtol=1e-4, atol=1e-4)


def test_ties_in_a_window_have_the_gradient_of_the_plain_layers() -> None:
    plain, inputs = plain_stem(), clips((2, 8, 16, 16)).round()
    nn.init.constant_(plain.conv.weight, 0.0)
    with torch.no_grad():
        plain.conv.weight[:, 0, 1, 3, 3] = 1.0  # whole numbers come out
    ours = accelerate(deepcopy(plain))
    for found, expected in zip(stepped(ours, inputs), stepped(plain, inputs), strict=True):
        torch.testing.assert_close(found, expected, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize(("channels", "order"), [(24, torch.channels_last_3d), (64, torch.contiguous_format)])
def test_maps_behind_it_lie_as_the_layers_there_want_them(channels: int, order: torch.memory_format) -> None:
    plain, inputs = plain_stem(DenseNetSpec(stem_channels=channels)), clips((2, 8, 16, 16))
    ours = accelerate(deepcopy(plain))
    assert deepcopy(ours).float()(inputs.float()).is_contiguous(memory_format=order)
    for found, expected in zip(stepped(ours, inputs), stepped(plain, inputs), strict=True):
        torch.testing.assert_close(found, expected, rtol=1e-10, atol=1e-10)


def test_recomputing_counts_a_batch_once() -> None:
    ours = accelerate(plain_stem())
    other, inputs = deepcopy(ours), clips((2, 8, 16, 16))
    checkpoint(ours, inputs, use_reentrant=False).sum().backward()
    other(inputs).sum().backward()
    assert ours.norm.num_batches_tracked == 1
    assert all(map(torch.equal, ours.buffers(), other.buffers()))


def test_plain_layers_where_something_else_is_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    ours, inputs = accelerate(plain_stem(dtype=torch.float32)), clips((2, 8, 16, 16), dtype=torch.float32)
    assert uses_fused(ours, inputs, monkeypatch)
    assert not uses_fused(ours, inputs.clone().requires_grad_(), monkeypatch)
    with torch.autocast("cpu", torch.bfloat16):
        assert not uses_fused(ours, inputs, monkeypatch)
    assert not uses_fused(deepcopy(ours).bfloat16(), inputs.bfloat16(), monkeypatch)
    repeating = accelerate(plain_stem(DenseNetSpec(replicate_time=True), dtype=torch.float32))
    assert not uses_fused(repeating, inputs, monkeypatch)
    assert not uses_fused(ours.eval(), inputs, monkeypatch)
    assert type(undo_acceleration(ours)) is Stem


def test_a_frozen_kernel_has_no_gradient() -> None:
    plain = plain_stem()
    plain.conv.requires_grad_(False)
    ours, inputs = accelerate(deepcopy(plain)), clips((2, 8, 16, 16))
    for stem in (plain, ours):
        stem(inputs).square().sum().backward()
    assert ours.conv.weight.grad is None
    torch.testing.assert_close(ours.norm.weight.grad, plain.norm.weight.grad, rtol=1e-10, atol=1e-12)
