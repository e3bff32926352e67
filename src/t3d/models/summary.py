"""Count parameters and operations of networks, on the meta device."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch.overrides import TorchFunctionMode
from torch.utils.flop_counter import FlopCounterMode

from t3d.errors import ConfigError
from t3d.models.registry import ARCHITECTURES, create_model, native_input

ClipShape = tuple[int, int, int, int]
"""Channels, frames, height, width."""


@dataclass(frozen=True, kw_only=True)
class ModelSummary:
    """One line of the list of networks."""

    name: str
    parameters: int
    """Trainable values, with 400 classes."""
    gflops: float
    """Forward pass of one native clip of the network as defined, in 1e9 operations: a multiply-add counts two, norms
    and pools none. `prepare_for_inference` needs fewer."""
    input: ClipShape
    """Native clip: channels, frames, height, width."""


@dataclass(frozen=True, kw_only=True)
class Fit:
    """Cost of a network at a given clip size, and overrides it needs for it."""

    input: ClipShape
    overrides: dict[str, object]
    """Options to replace so that the network accepts the clips; empty if none."""
    gflops: float


_FITTING: tuple[dict[str, object], ...] = ({}, {"head": "mean"}, {"keep_last_plane": True})
"""Overrides to try in turn: published heads need their native size, and short clips may run out of frames."""


def describe_models(names: Iterable[str] = tuple(ARCHITECTURES)) -> list[ModelSummary]:
    """Count parameters and operations of networks, by default of all in the table.

    Raises:
        ConfigError: A name is unknown.
    """
    return [_summary(name) for name in names]


def fit(name: str, size: tuple[int, int, int]) -> Fit | None:
    """Count the operations at another size of clips (T, H, W); None if the network cannot take it.

    Raises:
        ConfigError: The name is unknown.
    """
    shape = (native_input(name)[0], *size)
    for overrides in _FITTING:
        try:
            return Fit(input=shape, overrides=overrides, gflops=_count(name, shape, overrides)[1])
        except ConfigError:  # does not fit the size, or has no such option
            continue
    return None


def _summary(name: str) -> ModelSummary:
    shape = native_input(name)
    parameters, gflops = _count(name, shape, {})
    return ModelSummary(name=name, parameters=parameters, gflops=gflops, input=shape)


def _count(name: str, shape: ClipShape, overrides: dict[str, Any]) -> tuple[int, float]:
    with torch.device("meta"), _NoNorms():
        model = create_model(name, **overrides).eval()
        with torch.no_grad(), FlopCounterMode(display=False) as counter:
            model(torch.empty(1, *shape))
    return sum(parameter.numel() for parameter in model.parameters()), counter.get_total_flops() / 1e9


class _NoNorms(TorchFunctionMode):
    """Skip batch norm, which counts as no operation but takes half of the time on the meta device."""

    def __torch_function__(
        self, func: Callable[..., Any], types: object, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:  # noqa: ANN401  (of PyTorch's making)
        return args[0] if func is F.batch_norm else func(*args, **(kwargs or {}))
