"""The check must pass where arithmetic is right, and refuse convolutions that were broken on purpose."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from t3d.errors import ConfigError
from t3d.inference.numerics_check import Convolution, check_convolutions, convolutions_of
from t3d.models.fast.convolutions import Conv3dCall, Conv3dOverride

CPU = torch.device("cpu")
PLAIN = Convolution((2, 4, 4, 8, 8), (6, 4, 3, 3, 3), (1, 1, 1), (1, 1, 1))


def _check(*convolutions: Convolution, precision: torch.dtype = torch.bfloat16, gradients: bool = True) -> float:
    return check_convolutions(convolutions, device=CPU, precision=precision, gradients=gradients)


@pytest.mark.parametrize("precision", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("memory_format", [torch.contiguous_format, torch.channels_last_3d])
def test_right_arithmetic_passes(precision: torch.dtype, memory_format: torch.memory_format) -> None:
    strided = Convolution((2, 3, 5, 9, 9), (4, 3, 3, 7, 7), (2, 2, 2), (1, 3, 3))
    taken = check_convolutions([PLAIN, strided], device=CPU, precision=precision, memory_format=memory_format)
    assert taken > 0


@pytest.mark.parametrize(
    ("spoil", "named"),
    [
        (lambda output, call: output * 1.05, "result"),
        (lambda output, call: output + 0 * call.weight.sum() / 0, "result"),
        (lambda output, call: _Wrongly.apply(output, 2.0), "gradient of the weight"),
        (lambda output, call: _Wrongly.apply(output, float("nan")), "gradient of the weight"),
    ],
    ids=["result", "nan", "gradient", "nan gradient"],
)
def test_a_broken_convolution_is_refused_in_one_line(spoil: Callable[[Tensor, Conv3dCall], Tensor], named: str) -> None:
    def broken(call: Conv3dCall) -> Tensor:
        output = torch.conv3d(*call)
        return spoil(output, call) if output.dtype == torch.bfloat16 else output

    with Conv3dOverride(broken), pytest.raises(ConfigError, match=f"the {named} of a 3 x 3 x 3 convolution") as caught:
        _check(PLAIN)
    assert "bfloat16" in str(caught.value)
    assert str(caught.value).endswith("use --precision 32-true")
    assert "\n" not in str(caught.value)


def test_gradients_are_looked_at_only_where_they_are_wanted() -> None:
    def broken(call: Conv3dCall) -> Tensor:
        output: Tensor = _Wrongly.apply(torch.conv3d(*call), 2.0 if call.weight.dtype == torch.bfloat16 else 1.0)
        return output

    with Conv3dOverride(broken):
        _check(PLAIN, gradients=False)
        with pytest.raises(ConfigError):
            _check(PLAIN)


def test_wrong_float32_has_another_remedy() -> None:
    def broken(call: Conv3dCall) -> Tensor:
        return torch.conv3d(*call) * (1.05 if call.weight.dtype == torch.float32 else 1.0)

    with Conv3dOverride(broken), pytest.raises(ConfigError, match="use --accelerator cpu"):
        _check(PLAIN, precision=torch.float32)


def test_slowness_is_measured_against_the_finer_precision() -> None:
    calls = []

    def slow(call: Conv3dCall) -> Tensor:
        calls.append(call.weight.dtype)
        for _ in range(200 if call.weight.dtype == torch.bfloat16 else 0):
            torch.conv3d(*call)
        return torch.conv3d(*call)

    with Conv3dOverride(slow):
        assert _check(PLAIN) > 2
    assert set(calls) == {torch.bfloat16, torch.float32}


def test_large_convolutions_are_cut_small_but_keep_time_kernel_stride_and_padding() -> None:
    seen: set[Convolution] = set()

    def note(call: Conv3dCall) -> Tensor:
        assert isinstance(call.stride, tuple)
        assert isinstance(call.padding, tuple)
        seen.add(Convolution(tuple(call.input.shape), tuple(call.weight.shape), call.stride, call.padding))
        return torch.conv3d(*call)

    large = Convolution((64, 640, 8, 28, 7), (128, 640, 6, 3, 3), (2, 2, 2), (3, 1, 1))
    with Conv3dOverride(note):
        _check(large, large._replace(inputs=(8, 320, 8, 14, 7)))
    assert seen == {Convolution((2, 32, 8, 12, 7), (32, 32, 6, 3, 3), (2, 2, 2), (3, 1, 1))}


def test_convolutions_of_a_network_are_those_it_really_goes_through() -> None:
    with torch.device("meta"):
        network = nn.Sequential(
            nn.Conv3d(3, 4, 3, padding=1), nn.Conv3d(4, 4, 1), nn.Conv3d(4, 4, 1), nn.Conv3d(4, 2, (2, 1, 1), stride=2)
        )
    there = [
        Convolution((2, 3, 4, 6, 6), (4, 3, 3, 3, 3), (1, 1, 1), (1, 1, 1)),
        Convolution((2, 4, 4, 6, 6), (4, 4, 1, 1, 1), (1, 1, 1), (0, 0, 0)),
        Convolution((2, 4, 4, 6, 6), (2, 4, 2, 1, 1), (2, 2, 2), (0, 0, 0)),
    ]
    assert convolutions_of(network, (2, 3, 4, 6, 6), learns=False) == there
    assert convolutions_of(network, (2, 3, 4, 6, 6), learns=True) == there[::-1]


def test_a_gradient_that_a_module_computes_by_itself_is_seen() -> None:
    class Own(torch.autograd.Function):
        @staticmethod
        def forward(ctx: torch.autograd.function.FunctionCtx, clips: Tensor, weight: Tensor) -> Tensor:
            ctx.save_for_backward(clips, weight)
            return torch.conv3d(clips, weight)

        @staticmethod
        def backward(ctx: torch.autograd.function.FunctionCtx, grad: Tensor) -> tuple[Tensor, Tensor]:
            clips, weight = ctx.saved_tensors
            ones, none, both = (1, 1, 1), (0, 0, 0), (True, True, False)
            args = (torch.cat([grad, grad]), torch.cat([clips, clips]), weight, None, ones, none, ones, False, none, 1)
            of_clips, of_weight, _ = torch.ops.aten.convolution_backward(*args, both)
            return of_clips[: len(clips)], of_weight

    class Layer(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.weight = nn.Parameter(torch.empty(2, 3, 1, 1, 1))

        def forward(self, clips: Tensor) -> Tensor:
            output: Tensor = Own.apply(clips, self.weight)
            return output

    with torch.device("meta"):
        layer = Layer()
    seen = convolutions_of(layer, (2, 3, 4, 4, 4), learns=True)
    assert [convolution.inputs for convolution in seen] == [(4, 3, 4, 4, 4)]


class _Wrongly(torch.autograd.Function):
    """Leaves values alone, and multiplies gradients."""

    @staticmethod
    def forward(ctx: torch.autograd.function.FunctionCtx, output: Tensor, factor: float) -> Tensor:
        ctx.factor = factor
        return output.clone()

    @staticmethod
    def backward(ctx: torch.autograd.function.FunctionCtx, grad: Tensor) -> tuple[Tensor, None]:
        return grad * ctx.factor, None
