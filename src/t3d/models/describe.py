"""What each network costs, counted without memory or arithmetic. Nothing here measures time."""

from dataclasses import dataclass

import torch
from torch.utils.flop_counter import FlopCounterMode

from t3d.models.registry import ARCHITECTURES, create_model, native_input


@dataclass(frozen=True, kw_only=True)
class ModelSummary:
    """One line of the list of networks."""

    name: str
    parameters: int
    """Trainable values, with 400 classes."""
    gflops: float
    """Forward pass of one native clip, in 1e9 operations: a multiply-add counts two; norms and pools count none."""
    input: tuple[int, int, int, int]
    """Native clip: channels, frames, height, width."""


def describe_models() -> list[ModelSummary]:
    """Count parameters and operations of every network in the table."""
    return [_summary(name) for name in ARCHITECTURES]


def _summary(name: str) -> ModelSummary:
    shape = native_input(name)
    with torch.device("meta"):
        model = create_model(name).eval()
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        model(torch.empty(1, *shape, device="meta"))
    parameters = sum(parameter.numel() for parameter in model.parameters())
    return ModelSummary(name=name, parameters=parameters, gflops=counter.get_total_flops() / 1e9, input=shape)
