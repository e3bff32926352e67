"""Workarounds for 3D convolutions that PyTorch computes slowly or wrongly; each is limited to the affected cases."""

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import cache
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

Lengths = int | tuple[int, ...]
"""In T, H and W; one number stands for all three."""

_LAST_FAULTY_ONEDNN = (3, 12)
"""Of torch 2.13. Newer versions were not tried; `t3d.inference.numerics_check` compares every convolution anyway."""
_CPU_CAPABILITY = torch.backends.cpu.get_cpu_capability()


class Conv3dCall(NamedTuple):
    """The arguments of `torch.conv3d`, in its order and with its defaults."""

    input: Tensor
    weight: Tensor
    bias: Tensor | None = None
    stride: Lengths = 1
    padding: Lengths = 0
    dilation: Lengths = 1
    groups: int = 1


class Conv3dOverride(TorchFunctionMode):
    """Context in which every 3D convolution called from Python is computed by another function.

    Used as `with Conv3dOverride(conv3d_padded_in_time): loss = network(clips)...`.
    """

    def __init__(self, compute: Callable[[Conv3dCall], Tensor]) -> None:
        super().__init__()
        self.compute = compute

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Iterable[type],
        args: tuple[Any, ...] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:  # noqa: ANN401  (result of any function)
        """Called by PyTorch in place of every function."""
        if func is torch.conv3d:
            return self.compute(Conv3dCall(*args, **(kwargs or {})))
        return func(*args, **(kwargs or {}))


def conv3d_by_onednn(call: Conv3dCall) -> Tensor:
    """Compute float32 convolutions on a CPU without gradients by oneDNN, whatever the size; others as usual.

    PyTorch uses a slower implementation (`slow_conv3d`) for a single clip whose C x T x H is at most 20480 and whose
    kernel is at most 3 x 3, and for kernels of 1 x 1 x 1 and stride 1 with one thread.
    """
    if not _onednn_serves(call):
        return torch.conv3d(*call)
    inputs, weight, bias, stride, padding, dilation, groups = call
    return torch.mkldnn_convolution(inputs, weight, bias, _three(padding), _three(stride), _three(dilation), groups)


def _onednn_serves(call: Conv3dCall) -> bool:
    """Whether oneDNN's operator can be used: it has no gradient, and compilers and exporters do not support it."""
    if torch.compiler.is_compiling() or torch.jit.is_tracing() or torch.is_autocast_enabled("cpu"):
        return False
    tensors = [tensor for tensor in call[:3] if tensor is not None]
    if torch.is_grad_enabled() and any(tensor.requires_grad for tensor in tensors):
        return False
    plain = all(tensor.device.type == "cpu" and tensor.dtype == torch.float32 for tensor in tensors)
    return plain and torch.backends.mkldnn.is_available() and torch._C._get_mkldnn_enabled()


def conv3d_padded_in_time(call: Conv3dCall) -> Tensor:
    """Pad inputs of few planes explicitly in time, if `needs_onednn_bf16_workaround`.

    For training in bfloat16 on a CPU; output and gradients are the same.
    """
    zeros, *others = _three(call.padding)
    if not _needs_padding(call, zeros):
        return torch.conv3d(*call)
    inputs = F.pad(call.input, (0, 0, 0, 0, zeros, zeros))
    return torch.conv3d(*call._replace(input=inputs, padding=(0, *others)))


def _needs_padding(call: Conv3dCall, zeros: int) -> bool:
    mixed = torch.is_autocast_enabled("cpu") and torch.get_autocast_dtype("cpu") == torch.bfloat16
    dtype = torch.bfloat16 if mixed and call.input.device.type == "cpu" else call.input.dtype
    return needs_onednn_bf16_workaround(
        call.input, call.weight, dtype=dtype, zeros=zeros, stride=_three(call.stride)[0]
    )


def needs_onednn_bf16_workaround(
    inputs: Tensor, weight: Tensor, *, dtype: torch.dtype, zeros: int, stride: int
) -> bool:
    """Whether oneDNN would compute a wrong gradient of the weight, and write out of bounds.

    This affects bfloat16 on a CPU for kernels that are padded in time, overlap the padding at every position, and give
    more than one plane: for example the third block of a T3D at 16 frames, two planes under kernels of three. Explicit
    zeros in the input give the same output and correct gradients.

    Args:
        inputs: (B, C, T, H, W); on the meta device they represent inputs on a CPU.
        weight: (O, C, depth, height, width).
        dtype: Of the arithmetic.
        zeros: Padding in time, on each side.
        stride: In time.
    """
    if dtype != torch.bfloat16 or inputs.device.type not in ("cpu", "meta") or not _onednn_is_faulty():
        return False
    return kernel_overhangs(inputs.shape[2], weight.shape[2], zeros=zeros, stride=stride)


def kernel_overhangs(planes: int, depth: int, *, zeros: int, stride: int) -> bool:
    """Whether a kernel padded in time overlaps the padding at every position, and gives more than one plane."""
    first_within = -zeros % stride
    gives_one = planes + 2 * zeros < depth + stride
    return zeros > 0 and first_within + depth > planes and not gives_one


@cache
def _onednn_is_faulty() -> bool:
    found = re.search(r"(?:MKL-DNN|oneDNN) v(\d+)\.(\d+)", torch.__config__.show())
    return found is not None and (int(found[1]), int(found[2])) <= _LAST_FAULTY_ONEDNN


def conv3d_backward(
    grad: Tensor, maps: Tensor, weight: Tensor, *, stride: Sequence[int] = (1, 1, 1), padding: Sequence[int] = (0, 0, 0)
) -> tuple[Tensor, Tensor]:
    """Gradients of the input and the weight of a convolution without bias, computed in the number format of `grad`.

    Args:
        grad: Of the output, (B, O, t, h, w).
        maps: Input, (B, C, T, H, W).
        weight: (O, C, depth, height, width).
        stride: In (T, H, W).
        padding: In (T, H, W).
    """
    zeros, height, width = padding
    if needs_onednn_bf16_workaround(maps, weight, dtype=grad.dtype, zeros=zeros, stride=stride[0]):
        padded = F.pad(maps, (0, 0, 0, 0, zeros, zeros)).to(grad.dtype)
        grad_maps, grad_weight = _backward(grad, padded, weight, stride, (0, height, width), (True, True))
        return grad_maps.narrow(2, zeros, maps.shape[2]), grad_weight
    maps = maps.to(grad.dtype)
    if zeros and _unfolds_padded_maps(maps):
        grad_weight = conv3d_weight_grad(grad, maps, weight, stride=stride, padding=padding)
        return _backward(grad, maps, weight, stride, padding, (True, False))[0], grad_weight
    return _backward(grad, maps, weight, stride, padding, (True, True))


def conv3d_weight_grad(
    grad: Tensor, maps: Tensor, weight: Tensor, *, stride: Sequence[int], padding: Sequence[int]
) -> Tensor:
    """The second of the gradients of `conv3d_backward`, where the first is not wanted, in float32 or float64."""
    zeros, height, width = padding
    if zeros and _unfolds_padded_maps(maps):
        maps, zeros = F.pad(maps, (0, 0, 0, 0, zeros, zeros)), 0
    return _backward(grad, maps, weight, stride, (zeros, height, width), (False, True))[1]


def is_replaceable(conv: nn.Module) -> bool:
    """Whether a convolution is of the kind that fused steps compute from its weight alone.

    Not so if it was exchanged for another kind, is pruned or parametrized, or has hooks: then it has to be called.
    """
    if not isinstance(conv, nn.Conv3d) or conv._forward_hooks or conv._forward_pre_hooks:
        return False
    depth, height, width = conv.kernel_size
    same = conv.padding == ((depth - 1) // 2, height // 2, width // 2) and conv.padding_mode == "zeros"
    single = conv.groups == 1 and conv.dilation == (1, 1, 1)
    return same and single and conv.bias is None and not hasattr(conv, "parametrizations")


def _backward(
    grad: Tensor,
    maps: Tensor,
    weight: Tensor,
    stride: Sequence[int],
    padding: Sequence[int],
    wanted: tuple[bool, bool],
) -> Any:  # noqa: ANN401  (tensors where they are wanted)
    """Gradients of maps and weight as PyTorch computes them; one that is not wanted is None."""
    grad_maps, grad_weight, _ = torch.ops.aten.convolution_backward(
        grad,
        maps,
        weight.to(grad.dtype),
        None,
        stride,
        padding,
        (1, 1, 1),
        False,
        (0, 0, 0),
        1,
        (*wanted, False),
    )
    return grad_maps, grad_weight.to(weight.dtype) if wanted[1] else grad_weight


def _unfolds_padded_maps(maps: Tensor) -> bool:
    """Whether the gradient of a kernel is faster with zeros in time that are part of the maps.

    oneDNN 3.12's AVX2 code for it refuses padding in time and unfolds the maps for a matrix product, which takes three
    times as long. Its AVX-512 code does not, and would lose by it.
    """
    return maps.device.type == "cpu" and maps.dtype == torch.float32 and _CPU_CAPABILITY == "AVX2"


def _three(lengths: Lengths) -> tuple[int, ...]:
    return (lengths,) * 3 if isinstance(lengths, int) else tuple(lengths)
