"""Other ways to compute the 3D convolutions of a network, where PyTorch is wrong or slow; networks stay as they are.

Used as `with Rerouted(padded_in_time): network(clips)`. That what is computed so is right on this machine is checked by
`t3d.inference.numerics_check`.
"""

from collections.abc import Callable, Iterable, Mapping
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.overrides import TorchFunctionMode

from t3d.models.real_zeros import needs_real_zeros

Lengths = int | tuple[int, ...]
"""In T, H and W; one number stands for all three."""


class Call(NamedTuple):
    """The arguments of `torch.conv3d`, in its order and with its defaults."""

    input: Tensor
    weight: Tensor
    bias: Tensor | None = None
    stride: Lengths = 1
    padding: Lengths = 0
    dilation: Lengths = 1
    groups: int = 1


class Rerouted(TorchFunctionMode):
    """While entered, every 3D convolution called from Python is computed in another way."""

    def __init__(self, way: Callable[[Call], Tensor]) -> None:
        super().__init__()
        self.way = way

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Iterable[type],
        args: tuple[Any, ...] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:  # noqa: ANN401  (whatever the function gives)
        """Called by PyTorch in place of every function."""
        if func is torch.conv3d:
            return self.way(Call(*args, **(kwargs or {})))
        return func(*args, **(kwargs or {}))


def padded_in_time(call: Call) -> Tensor:
    """Make zeros before and behind inputs of few planes part of these: see `needs_real_zeros`.

    For training in bfloat16 on a CPU.
    """
    zeros, *others = _three(call.padding)
    planes, depth = call.input.shape[2], call.weight.shape[2]
    if not needs_real_zeros(planes, depth, zeros=zeros, stride=_three(call.stride)[0]):
        return torch.conv3d(*call)
    inputs = F.pad(call.input, (0, 0, 0, 0, zeros, zeros))
    return torch.conv3d(*call._replace(input=inputs, padding=(0, *others)))


def by_onednn(call: Call) -> Tensor:
    """Compute by oneDNN what is in float32 on a CPU, whatever its size, and the rest as usual; not differentiable.

    PyTorch by itself takes a loop of its own (`slow_conv3d`) for a single clip whose C x T x H is at most 20480 and
    whose kernel is at most 3 x 3, and for kernels of 1 x 1 x 1 and stride 1 with one thread.
    """
    if not _is_for_onednn(call.input):
        return torch.conv3d(*call)
    inputs, weight, bias, stride, padding, dilation, groups = call
    return torch.mkldnn_convolution(inputs, weight, bias, _three(padding), _three(stride), _three(dilation), groups)


def _is_for_onednn(inputs: Tensor) -> bool:
    suits = inputs.device.type == "cpu" and inputs.dtype == torch.float32 and torch.backends.mkldnn.is_available()
    return suits and not torch.is_autocast_enabled("cpu")


def _three(lengths: Lengths) -> tuple[int, ...]:
    return (lengths,) * 3 if isinstance(lengths, int) else tuple(lengths)
