"""Every other way must give what `torch.conv3d` gives, here in float64 or against it."""

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from t3d.models.fast import convolutions
from t3d.models.fast.convolutions import (
    Conv3dCall,
    Conv3dOverride,
    conv3d_backward,
    conv3d_by_onednn,
    conv3d_padded_in_time,
    conv3d_weight_grad,
    kernel_overhangs,
    needs_onednn_bf16_workaround,
)

SHORT = [
    # kernel, stride, padding, input: none of the kernels is wholly on its input in any place
    ((3, 3, 3), 1, 1, (2, 4, 2, 5, 5)),
    ((6, 3, 3), 1, (3, 1, 1), (2, 4, 4, 5, 5)),
    ((3, 3, 3), 2, (2, 1, 1), (2, 4, 2, 5, 5)),
    ((6, 3, 3), 2, (3, 1, 1), (2, 4, 6, 5, 5)),
    ((3, 1, 1), (1, 1, 1), (1, 0, 0), (1, 4, 2, 5, 5)),
]


def _inputs(kernel: tuple[int, ...], size: tuple[int, ...], dtype: torch.dtype) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(0)
    clips = torch.randn(size, generator=generator, dtype=torch.float64)
    weight = torch.randn(3, size[1], *kernel, generator=generator, dtype=torch.float64)
    return clips.to(dtype).requires_grad_(), weight.to(dtype).requires_grad_()


@pytest.mark.parametrize(("kernel", "stride", "padding", "size"), SHORT)
def test_padding_in_time_changes_neither_result_nor_gradients(
    kernel: tuple[int, ...], stride: int, padding: int, size: tuple[int, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(convolutions, "needs_onednn_bf16_workaround", lambda *_, **__: True)
    clips, weight = _inputs(kernel, size, torch.float64)
    plain = F.conv3d(clips, weight, stride=stride, padding=padding)
    with Conv3dOverride(conv3d_padded_in_time):
        padded = F.conv3d(clips, weight, stride=stride, padding=padding)
    torch.testing.assert_close(padded, plain, rtol=1e-12, atol=1e-12)
    pull = torch.linspace(-1, 1, plain.numel(), dtype=torch.float64).view_as(plain)
    expected, found = (torch.autograd.grad(output, [clips, weight], pull) for output in (plain, padded))
    torch.testing.assert_close(found, expected, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize(("kernel", "stride", "padding", "size"), SHORT)
def test_padding_in_time_gives_right_bfloat16_gradients_on_a_cpu(
    kernel: tuple[int, ...], stride: int, padding: int, size: tuple[int, ...]
) -> None:
    gradients = []
    for dtype in (torch.float32, torch.bfloat16):
        clips, weight = (
            tensor.detach().bfloat16().to(dtype).requires_grad_() for tensor in _inputs(kernel, size, dtype)
        )
        with Conv3dOverride(conv3d_padded_in_time):
            output = F.conv3d(clips, weight, stride=stride, padding=padding)
        gradients.append(torch.autograd.grad(output, weight, torch.ones_like(output))[0].float())
    exact, rounded = gradients
    assert (rounded - exact).norm() < 0.01 * exact.norm()


@pytest.mark.parametrize(
    ("depth", "planes", "stride", "expected"),
    [(3, 2, 1, (4, 0)), (3, 3, 1, (3, 1)), (3, 1, 1, (1, 1)), (3, 2, 2, (2, 1))],
)
def test_padding_in_time_leaves_alone_what_comes_out_right(
    depth: int, planes: int, stride: int, expected: tuple[int, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Kernels that are wholly on their input somewhere, and those that give a single plane."""
    monkeypatch.setattr(convolutions, "_onednn_is_faulty", lambda: True)
    seen: list[tuple[int, int]] = []

    def note(call: Conv3dCall) -> Tensor:
        padding = call.padding if isinstance(call.padding, int) else call.padding[0]
        seen.append((call.input.shape[2], padding))
        return torch.conv3d(*call)

    with Conv3dOverride(note), Conv3dOverride(conv3d_padded_in_time):
        F.conv3d(
            torch.zeros(1, 1, planes, 4, 4).bfloat16(),
            torch.zeros(1, 1, depth, 3, 3).bfloat16(),
            stride=stride,
            padding=1,
        )
    assert seen == [expected]


@pytest.mark.parametrize("batch", [1, 3])
@pytest.mark.parametrize("options", [{}, {"stride": 2, "padding": 1}, {"padding": (2, 0, 1), "bias": True}])
def test_onednn_gives_the_same_scores(batch: int, options: dict[str, object]) -> None:
    generator = torch.Generator().manual_seed(1)
    clips, weight = (torch.randn(size, generator=generator) for size in ((batch, 4, 5, 6, 6), (3, 4, 3, 3, 3)))
    named = {**options, "bias": torch.arange(3.0)} if options.pop("bias", None) else options
    with torch.inference_mode(), Conv3dOverride(conv3d_by_onednn):
        found = F.conv3d(clips, weight, **named)
    exact = {name: value.double() if isinstance(value, Tensor) else value for name, value in named.items()}
    torch.testing.assert_close(found.double(), F.conv3d(clips.double(), weight.double(), **exact), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16])
def test_onednn_is_asked_for_float32_only(dtype: torch.dtype, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(torch, "mkldnn_convolution")
    clips, weight = torch.ones(1, 2, 3, 3, 3), torch.ones(1, 2, 1, 1, 1)
    with Conv3dOverride(conv3d_by_onednn):
        assert F.conv3d(clips.to(dtype), weight.to(dtype)).unique().tolist() == [2.0]
        with torch.autocast("cpu", torch.bfloat16):
            assert F.conv3d(clips, weight).dtype == torch.bfloat16
        with torch.no_grad(), pytest.raises(AttributeError):
            F.conv3d(clips, weight)


def test_modules_are_overridden_and_other_functions_are_not() -> None:
    layers = nn.Sequential(nn.Conv3d(1, 1, 1, bias=False), nn.ReLU(), nn.AvgPool3d(2))
    clips = torch.full((1, 1, 2, 2, 2), -3.0)
    with Conv3dOverride(lambda call: call.input.abs()):
        assert layers(clips).tolist() == [[[[[3.0]]]]]
    assert layers(clips).item() != 3.0


@pytest.mark.parametrize(
    ("planes", "depth", "zeros", "stride", "needed"),
    [
        (2, 3, 1, 1, True),  # the third block of a T3D at 16 frames: both places stand half outside
        (3, 3, 1, 1, False),  # the middle place stands inside
        (1, 3, 1, 1, False),  # a single plane comes out
        (2, 3, 0, 1, False),
        (4, 4, 1, 2, True),  # places begin at -1 and 1
        (5, 4, 1, 2, False),  # 1 to 4 is inside
    ],
)
def test_kernels_that_never_stand_inside(planes: int, depth: int, zeros: int, stride: int, needed: bool) -> None:
    assert kernel_overhangs(planes, depth, zeros=zeros, stride=stride) is needed


def test_the_workaround_is_for_bfloat16_on_cpus_with_the_faulty_version(monkeypatch: pytest.MonkeyPatch) -> None:
    inputs, weight = torch.zeros(1, 1, 2, 4, 4), torch.zeros(1, 1, 3, 3, 3)

    def needed(dtype: torch.dtype) -> bool:
        return needs_onednn_bf16_workaround(inputs, weight, dtype=dtype, zeros=1, stride=1)

    monkeypatch.setattr(convolutions, "_onednn_is_faulty", lambda: True)
    assert (needed(torch.bfloat16), needed(torch.float32), needed(torch.float16)) == (True, False, False)
    monkeypatch.setattr(convolutions, "_onednn_is_faulty", lambda: False)
    assert not needed(torch.bfloat16)


@pytest.mark.parametrize(
    ("shown", "faulty"),
    [
        ("Intel(R) MKL-DNN v3.12.0", True),
        ("oneDNN v3.7.1", True),
        ("MKL-DNN v3.13.0", False),
        ("USE_MKLDNN=OFF", False),
    ],
)
def test_the_version_of_onednn_decides(shown: str, faulty: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.__config__, "show", lambda: shown)
    convolutions._onednn_is_faulty.cache_clear()
    assert convolutions._onednn_is_faulty() is faulty
    convolutions._onednn_is_faulty.cache_clear()


def test_onednn_is_not_asked_where_a_gradient_is_wanted() -> None:
    clips, weight = torch.ones(1, 2, 3, 3, 3, requires_grad=True), torch.ones(1, 2, 1, 1, 1)
    conv3d_by_onednn(Conv3dCall(clips, weight)).sum().backward()
    assert clips.grad is not None
    assert clips.grad.unique().tolist() == [1.0]


@pytest.mark.parametrize("capability", ["AVX2", "AVX512"])
@pytest.mark.parametrize(("kernel", "stride", "padding", "size"), SHORT)
def test_gradients_of_a_convolution(
    capability: str,
    kernel: tuple[int, ...],
    stride: int | tuple[int, ...],
    padding: int | tuple[int, ...],
    size: tuple[int, ...],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(convolutions, "_CPU_CAPABILITY", capability)
    maps, weight = _inputs(kernel, size, torch.float32)
    strides, zeros = (value if isinstance(value, tuple) else (value,) * 3 for value in (stride, padding))
    out = F.conv3d(maps.double(), weight.double(), stride=strides, padding=zeros)
    grad = torch.linspace(-1, 1, out.numel()).view_as(out)
    expected = torch.autograd.grad(out, [maps, weight], grad.double())
    found = conv3d_backward(grad, maps.detach(), weight.detach(), stride=strides, padding=zeros)
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-4)
    alone = conv3d_weight_grad(grad, maps.detach(), weight.detach(), stride=strides, padding=zeros)
    torch.testing.assert_close(alone, expected[1], rtol=1e-4, atol=1e-4)
