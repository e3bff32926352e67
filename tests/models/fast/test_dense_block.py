"""A fused training step of a dense block against the plain layers and automatic differentiation."""

from copy import deepcopy

import pytest
import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from t3d.models import DenseNetSpec, accelerate
from t3d.models.t3d import DenseBlock


def block_of(num_layers: int = 3, *, dropout: float = 0.0, replicate_time: bool = False) -> DenseBlock:
    torch.manual_seed(0)
    spec = DenseNetSpec(growth_rate=4, bottleneck=2, dropout=dropout, replicate_time=replicate_time)
    block = accelerate(DenseBlock(5, num_layers, spec).double())
    for module in block.modules():
        if isinstance(module, nn.BatchNorm3d):
            nn.init.uniform_(module.weight, -1.5, 1.5)
            nn.init.uniform_(module.bias, -0.5, 0.5)
    return block


def plainly(block: DenseBlock, features: Tensor) -> Tensor:
    return nn.Sequential.forward(block, features)


def judged(outcome: Tensor, block: DenseBlock, features: Tensor) -> list[Tensor]:
    """Output, all gradients and all buffers after a backward pass with a fixed gradient."""
    outcome.backward(torch.linspace(-1, 1, outcome.numel(), dtype=outcome.dtype).view_as(outcome))
    grads = [parameter.grad for parameter in block.parameters()]
    return [outcome.detach(), features.grad, *grads, *block.buffers()]


@pytest.mark.parametrize("again", [False, True])
@pytest.mark.parametrize("memory_format", [torch.contiguous_format, torch.channels_last_3d])
def test_step_equals_plain_layers(again: bool, memory_format: torch.memory_format) -> None:
    block = block_of()
    other = deepcopy(block)
    accelerate(block, recompute=again)
    values = (torch.randn(2, 5, 3, 4, 5, dtype=torch.float64) + 2).to(memory_format=memory_format)
    one, two = values.clone().requires_grad_(), values.clone().requires_grad_()

    found = judged(block(one), block, one)
    expected = judged(plainly(other, two), other, two)

    assert len(found) == 2 + 3 * 6 + 3 * 6
    for ours, plain in zip(found, expected, strict=True):
        torch.testing.assert_close(ours, plain, rtol=1e-10, atol=1e-12)


def test_step_in_bfloat16_is_as_near_as_plain_layers_are() -> None:
    block = block_of().float()
    values = torch.randn(4, 5, 4, 6, 6)
    exact = judged(plainly(other := deepcopy(block), one := values.clone().requires_grad_()), other, one)
    with torch.autocast("cpu", torch.bfloat16):
        ours, plain = deepcopy(block), deepcopy(block)
        two, three = values.clone().requires_grad_(), values.clone().requires_grad_()
        out_ours, out_plain = ours(two), plainly(plain, three)
    found, rough = judged(out_ours, ours, two), judged(out_plain, plain, three)
    errors = [
        sum(float((near - target).norm() / target.norm()) for near, target in zip(values[:20], exact[:20], strict=True))
        for values in (found, rough)
    ]
    assert errors[0] < 1.25 * errors[1]


def test_step_of_a_block_all_in_bfloat16_is_as_near_as_plain_layers_are() -> None:
    block, values = block_of().float(), torch.randn(4, 5, 4, 6, 6)
    ours, plain = deepcopy(block).bfloat16(), deepcopy(block).bfloat16()
    one = values.clone().requires_grad_()
    two, three = (values.bfloat16().requires_grad_() for _ in range(2))
    exact = judged(plainly(block, one), block, one)[:20]
    found, rough = judged(ours(two), ours, two)[:20], judged(plainly(plain, three), plain, three)[:20]
    assert {gradient.dtype for gradient in found} == {torch.bfloat16}
    errors = [
        sum(float((near - target).norm() / target.norm()) for near, target in zip(values, exact, strict=True))
        for values in (found, rough)
    ]
    assert errors[0] < 1.25 * errors[1]


def test_nothing_normalised_is_kept() -> None:
    block = block_of()
    features = torch.randn(2, 5, 3, 4, 5, dtype=torch.float64, requires_grad=True)
    kept: list[int] = []

    def note(tensor: Tensor) -> Tensor:
        if tensor.dim() == 5 and not isinstance(tensor, nn.Parameter):
            kept.append(tensor.shape[1])
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(note, lambda tensor: tensor):
        block(features)
    assert sorted(kept) == [8, 8, 8, 17]  # the narrow maps, and the one all layers write into


def test_running_statistics_stand_still_where_they_are_told_to() -> None:
    block = block_of()
    norms = [module for module in block.modules() if isinstance(module, nn.BatchNorm3d)]
    for norm in norms:
        norm.momentum, norm.num_batches_tracked = 0.0, None
    block(torch.randn(2, 5, 3, 4, 5, dtype=torch.float64))
    assert all(torch.equal(norm.running_mean, torch.zeros_like(norm.running_mean)) for norm in norms)


@pytest.mark.parametrize("why", ["evaluation", "dropout", "replicate_time", "one norm frozen"])
def test_plain_layers_serve_where_a_step_would_differ(why: str) -> None:
    block = block_of(dropout=0.5 * (why == "dropout"), replicate_time=why == "replicate_time")
    if why == "evaluation":
        block.eval()
    if why == "one norm frozen":
        block[1].grow.norm.eval()
    other = deepcopy(block)
    values = torch.randn(2, 5, 3, 4, 5, dtype=torch.float64)
    torch.manual_seed(7)
    ours = block(values)
    torch.manual_seed(7)
    assert torch.equal(ours, plainly(other, values))


def test_a_single_value_cannot_be_normalised() -> None:
    with pytest.raises(ValueError, match="more than 1 value"):
        block_of()(torch.randn(1, 5, 1, 1, 1, dtype=torch.float64))


def test_second_derivatives_are_refused() -> None:
    block = block_of()
    features = torch.randn(2, 5, 3, 4, 5, dtype=torch.float64, requires_grad=True)
    (first,) = torch.autograd.grad(block(features).square().sum(), features, create_graph=True)
    with pytest.raises(RuntimeError, match="once_differentiable"):
        first.sum().backward()


def test_maps_far_from_zero_cost_no_digits() -> None:
    """The error of a gradient in float32 is about that of the plain layers, where a mean is 300 deviations."""
    block = block_of()
    values = torch.randn(4, 5, 4, 6, 6, dtype=torch.float64) + 300
    exact = judged(plainly(other := deepcopy(block), one := values.clone().requires_grad_()), other, one)
    ours, plain = deepcopy(block).float(), deepcopy(block).float()
    two, three = (values.clone().float().requires_grad_() for _ in range(2))
    found, usual = judged(ours(two), ours, two), judged(plainly(plain, three), plain, three)
    for near, reference, target in zip(found[2:20], usual[2:20], exact[2:20], strict=True):
        assert (near - target).norm() <= 3 * (reference - target).norm() + 1e-5 * target.norm()


def test_layers_that_normalise_differently_share_nothing() -> None:
    block = block_of()
    block[2].squeeze.norm.eps = 1e-3
    other = deepcopy(block)
    values = torch.randn(2, 5, 3, 4, 5, dtype=torch.float64)
    assert torch.equal(block(values), plainly(other, values))


@pytest.mark.parametrize("use_reentrant", [False, True])
def test_checkpointing_counts_a_batch_once(use_reentrant: bool) -> None:
    block = block_of()
    other = deepcopy(block)
    values = torch.randn(2, 5, 3, 4, 5, dtype=torch.float64)
    one, two = values.clone().requires_grad_(), values.clone().requires_grad_()
    found = judged(checkpoint(block, one, use_reentrant=use_reentrant), block, one)
    expected = judged(plainly(other, two), other, two)
    for ours, plain in zip(found, expected, strict=True):
        torch.testing.assert_close(ours, plain, rtol=1e-10, atol=1e-12)
    assert block.layer1.squeeze.norm.num_batches_tracked == 1


def test_the_order_in_which_parameters_were_registered_does_not_matter() -> None:
    block = block_of()
    other = deepcopy(block)
    for module in block.modules():
        module._modules = dict(reversed(module._modules.items()))
        module._parameters = dict(reversed(module._parameters.items()))
    block._modules = dict(reversed(block._modules.items()))  # layers stay in their order
    values = torch.randn(2, 5, 3, 4, 5, dtype=torch.float64)
    (block(values) ** 2).sum().backward()
    (plainly(other, values) ** 2).sum().backward()
    own, plain = dict(block.named_parameters()), dict(other.named_parameters())
    assert list(own) != list(plain)
    for name, parameter in plain.items():
        torch.testing.assert_close(own[name].grad, parameter.grad, rtol=1e-10, atol=1e-12)


def test_frozen_parameters_get_no_gradient() -> None:
    block = block_of()
    block.layer2.requires_grad_(False)
    block(torch.randn(2, 5, 3, 4, 5, dtype=torch.float64)).sum().backward()
    assert all((parameter.grad is None) == name.startswith("layer2") for name, parameter in block.named_parameters())
