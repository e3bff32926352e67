"""Check that a device computes the convolutions of a network correctly in a precision, and not far too slowly.

Each distinct 3D convolution is compared separately with one in a finer precision: the error of a whole network in half
precision is no evidence, because a hundred layers amplify rounding. Other operations are not checked.
"""

import time
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch._ops import OpOverload
from torch.nn import functional as F
from torch.utils._python_dispatch import TorchDispatchMode

from t3d.errors import ConfigError
from t3d.models.layers import times

BOUND = 0.01
"""Largest relative error (L2) of a result or gradient. Rounding to bfloat16 makes 0.0025, TF32 0.0005; faulty kernels
made 0.2 and more."""

FINER = {torch.bfloat16: torch.float32, torch.float16: torch.float32, torch.float32: torch.float64}
"""Finer number format that each one is compared with."""

_SIZE_ON_CPU = (2, 32, 12)
"""Maximum clips, channels, and height and width: known faults on CPUs only depend on the length in time."""


class Convolution(NamedTuple):
    """Shapes and arguments that distinguish the convolutions of a network."""

    inputs: tuple[int, ...]
    """(B, C, T, H, W)."""
    weight: tuple[int, ...]
    """(O, C, depth, height, width)."""
    stride: tuple[int, ...]
    padding: tuple[int, ...]


def convolutions_of(network: nn.Module, clips: tuple[int, ...], *, learns: bool) -> list[Convolution]:
    """List the distinct convolutions of the forward pass of clips of this shape, or of its backward pass.

    Args:
        network: On the meta device, so that nothing is computed; the clips get its dtype.
        clips: (B, C, T, H, W).
        learns: List the convolutions of the backward pass, which need not mirror those of the forward pass.
    """
    recorder = _Recorder(learns=learns)
    with recorder, torch.set_grad_enabled(learns):
        scores = network(torch.empty(clips, device="meta", dtype=next(network.parameters()).dtype))
        if learns:
            scores.sum().backward()
    return list(recorder.seen)


class _Recorder(TorchDispatchMode):
    """Record convolutions, or the operations that give their gradients."""

    def __init__(self, *, learns: bool) -> None:
        super().__init__()
        kinds = torch.ops.aten.convolution, torch.ops.aten.convolution_backward
        self.kind = kinds[learns].default
        self.first = int(learns)  # the other starts with the gradient of the output
        self.seen: dict[Convolution, None] = {}

    def __torch_dispatch__(
        self,
        func: OpOverload,
        types: Iterable[type],
        args: tuple[Any, ...] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:  # noqa: ANN401  (result of any function)
        if func is self.kind:
            inputs, weight, _, stride, padding = args[self.first : self.first + 5]
            self.seen[Convolution(inputs.shape, weight.shape, tuple(stride), tuple(padding))] = None
        return func(*args, **(kwargs or {}))


def check_convolutions(
    convolutions: Iterable[Convolution],
    *,
    device: torch.device,
    precision: torch.dtype,
    gradients: bool = True,
    memory_format: torch.memory_format = torch.contiguous_format,
) -> float:
    """Compare every convolution with the same one in a finer precision, on the same rounded numbers.

    On a GPU they have their own size, because kernels are chosen by size; on a CPU they are reduced.

    Args:
        convolutions: See `convolutions_of`.
        device: Where to compute.
        precision: Of the arithmetic.
        gradients: Also compare gradients of weight and input.
        memory_format: Of input and weight.

    Returns:
        Time relative to the finer precision.

    Raises:
        ConfigError: An output or gradient is wrong.
    """
    chosen = convolutions if device.type == "cuda" else dict.fromkeys(map(_cut, convolutions))
    generator = torch.Generator(device).manual_seed(0)
    seconds = torch.zeros(2, dtype=torch.float64)
    for convolution in chosen:
        shapes = (convolution.inputs, convolution.weight)
        tensors = [torch.randn(shape, generator=generator, device=device).to(precision) for shape in shapes]
        found, expected = (
            _timed(convolution, [_prepared(t, kind, memory_format) for t in tensors], gradients=gradients)
            for kind in (precision, FINER[precision])
        )
        _compare(convolution, found[0], expected[0], precision)
        seconds += torch.tensor([found[1], expected[1]])
    return float(seconds[0] / seconds[1])


def _cut(convolution: Convolution) -> Convolution:
    num_clips, num_channels, size = _SIZE_ON_CPU
    _, channels, planes, height, width = convolution.inputs
    out, _, *kernel = convolution.weight
    channels = min(channels, num_channels)
    return convolution._replace(
        inputs=(num_clips, channels, planes, min(height, size), min(width, size)),
        weight=(min(out, num_channels), channels, *kernel),
    )


def _prepared(tensor: Tensor, kind: torch.dtype, memory_format: torch.memory_format) -> Tensor:
    return tensor.to(kind, memory_format=memory_format, copy=True).requires_grad_()


def _timed(convolution: Convolution, tensors: Sequence[Tensor], *, gradients: bool) -> tuple[dict[str, Tensor], float]:
    """Output and gradients, and the shortest time of three."""
    seconds = []
    for _ in range(3):
        _wait(tensors[0].device)
        start = time.perf_counter()
        results = _computed(convolution, tensors, gradients=gradients)
        _wait(tensors[0].device)
        seconds.append(time.perf_counter() - start)
    return results, min(seconds)


def _computed(convolution: Convolution, tensors: Sequence[Tensor], *, gradients: bool) -> dict[str, Tensor]:
    inputs, weight = tensors
    output = F.conv3d(inputs, weight, stride=convolution.stride, padding=convolution.padding)
    if not gradients:
        return {"result": output.detach()}
    pull = torch.linspace(-1, 1, output.numel(), device=output.device).view_as(output).to(output)
    of_weight, of_inputs = torch.autograd.grad(output, [weight, inputs], pull)
    return {"result": output.detach(), "gradient of the weight": of_weight, "gradient of the input": of_inputs}


def _compare(
    convolution: Convolution, found: dict[str, Tensor], expected: dict[str, Tensor], precision: torch.dtype
) -> None:
    for name, value in expected.items():
        error = float((found[name].to(value) - value).norm() / value.norm())
        if not error <= BOUND:  # also refuses NaN
            kernel, size = times(convolution.weight[2:]), times(convolution.inputs)
            remedy = "--accelerator cpu" if precision == torch.float32 else "--precision 32-true"
            kind = str(precision).removeprefix("torch.")
            raise ConfigError(
                f"torch {torch.__version__} computes wrongly in {kind} here: the {name} of a "
                f"{kernel} convolution of {size} has a relative error of {error:.2g}; use {remedy}"
            )


def _wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)
