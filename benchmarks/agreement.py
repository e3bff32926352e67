"""Whether ours and the literal network are one function: outputs and gradients with the same weights."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from benchmarks.literal import literal_network
from t3d.bench.experiments import ACCELERATED
from t3d.bench.steps import Shape, training_network
from t3d.bench.tables import Target

_BOUNDS = {torch.float32: 1e-4, torch.float64: 1e-10}
_SEED = 0


@dataclass(frozen=True, kw_only=True)
class Agreement:
    """How far two networks are apart, and how far each is from exact."""

    targets: Sequence[Target] = ()
    notes: Sequence[str] = ()
    """The effect of rounding to float32 on each."""


def agreement(arch: str, shape: Shape, *, exact_shape: Shape) -> Agreement:
    """Compare outputs and gradients of a step of training, on the CPU.

    A difference is that of the norms, relative to the other's norm: of the outputs, and of all gradients together.

    Args:
        arch: Name of the network.
        shape: Clips that are compared in float32.
        exact_shape: Smaller ones for float64, which takes long.
    """
    ours, plain = _pair(arch)
    found = _targets(*(_step(network, shape, torch.float32) for network in (ours, plain)), dtype=torch.float32)
    exact, right = (_step(network, exact_shape, torch.float64) for network in (ours, plain))
    rounded = (_step(network, exact_shape, torch.float32) for network in (ours, plain))
    own, other = (relative(step.gradients, right.gradients) for step in rounded)
    return Agreement(
        targets=[*found, *_targets(exact, right, dtype=torch.float64)],
        notes=[f"Gradients in float32 differ from literal's in float64 by {own:.1e} (ours) and {other:.1e} (literal)."],
    )


@dataclass(frozen=True, kw_only=True)
class _Step:
    outputs: list[Tensor]
    gradients: list[Tensor]


def _pair(arch: str) -> tuple[nn.Module, nn.Module]:
    """Our network and the literal one, with the weights of ours."""
    ours = training_network(arch, ACCELERATED, generator=torch.Generator().manual_seed(_SEED))
    plain = literal_network(arch).train()
    with torch.no_grad():
        for own, theirs in zip(ours.state_dict().values(), plain.state_dict().values(), strict=True):
            theirs.copy_(own)
    return ours, plain


def _step(network: nn.Module, shape: Shape, dtype: torch.dtype) -> _Step:
    network.to(dtype).zero_grad()
    clips = torch.randn(shape, generator=torch.Generator().manual_seed(_SEED)).to(dtype)
    outputs = network(clips)
    F.cross_entropy(outputs, torch.arange(len(clips))).backward()
    gradients = [parameter.grad.double() for parameter in network.parameters() if parameter.grad is not None]
    return _Step(outputs=[outputs.detach()], gradients=gradients)


def _targets(ours: _Step, plain: _Step, *, dtype: torch.dtype) -> list[Target]:
    name = str(dtype).removeprefix("torch.")
    reached = {
        f"outputs in training, {name}": relative(ours.outputs, plain.outputs),
        f"gradients, {name}": relative(ours.gradients, plain.gradients),
    }
    return [
        Target(what=what, unit="relative difference", bound=_BOUNDS[dtype], reached=value)
        for what, value in reached.items()
    ]


def relative(found: Sequence[Tensor], expected: Sequence[Tensor]) -> float:
    """Norm of all differences, relative to that of all that was expected."""
    own, other = (torch.cat([tensor.flatten().double() for tensor in tensors]) for tensors in (found, expected))
    return float((own - other).norm() / other.norm())
