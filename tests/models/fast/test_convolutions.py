"""Every other way must give what `torch.conv3d` gives, here in float64 or against it."""

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from t3d.engine.convolutions import Call, Rerouted, by_onednn, padded_in_time

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
    kernel: tuple[int, ...], stride: int, padding: int, size: tuple[int, ...]
) -> None:
    clips, weight = _inputs(kernel, size, torch.float64)
    plain = F.conv3d(clips, weight, stride=stride, padding=padding)
    with Rerouted(padded_in_time):
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
        with Rerouted(padded_in_time):
            output = F.conv3d(clips, weight, stride=stride, padding=padding)
        gradients.append(torch.autograd.grad(output, weight, torch.ones_like(output))[0].float())
    exact, rounded = gradients
    assert (rounded - exact).norm() < 0.01 * exact.norm()


@pytest.mark.parametrize(
    ("depth", "planes", "stride", "expected"),
    [(3, 2, 1, (4, 0)), (3, 3, 1, (3, 1)), (3, 1, 1, (1, 1)), (3, 2, 2, (2, 1))],
)
def test_padding_in_time_leaves_alone_what_comes_out_right(
    depth: int, planes: int, stride: int, expected: tuple[int, int]
) -> None:
    """Kernels that are wholly on their input somewhere, and those that give a single plane."""
    seen: list[tuple[int, int]] = []

    def note(call: Call) -> Tensor:
        padding = call.padding if isinstance(call.padding, int) else call.padding[0]
        seen.append((call.input.shape[2], padding))
        return torch.conv3d(*call)

    with Rerouted(note), Rerouted(padded_in_time):
        F.conv3d(torch.zeros(1, 1, planes, 4, 4), torch.zeros(1, 1, depth, 3, 3), stride=stride, padding=1)
    assert seen == [expected]


@pytest.mark.parametrize("batch", [1, 3])
@pytest.mark.parametrize("options", [{}, {"stride": 2, "padding": 1}, {"padding": (2, 0, 1), "bias": True}])
def test_onednn_gives_the_same_scores(batch: int, options: dict[str, object]) -> None:
    generator = torch.Generator().manual_seed(1)
    clips, weight = (torch.randn(size, generator=generator) for size in ((batch, 4, 5, 6, 6), (3, 4, 3, 3, 3)))
    named = {**options, "bias": torch.arange(3.0)} if options.pop("bias", None) else options
    with torch.inference_mode(), Rerouted(by_onednn):
        found = F.conv3d(clips, weight, **named)
    exact = {name: value.double() if isinstance(value, Tensor) else value for name, value in named.items()}
    torch.testing.assert_close(found.double(), F.conv3d(clips.double(), weight.double(), **exact), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16])
def test_onednn_is_asked_for_float32_only(dtype: torch.dtype, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(torch, "mkldnn_convolution")
    clips, weight = torch.ones(1, 2, 3, 3, 3), torch.ones(1, 2, 1, 1, 1)
    with Rerouted(by_onednn):
        assert F.conv3d(clips.to(dtype), weight.to(dtype)).unique().tolist() == [2.0]
        with torch.autocast("cpu", torch.bfloat16):
            assert F.conv3d(clips, weight).dtype == torch.bfloat16
        with pytest.raises(AttributeError):
            F.conv3d(clips, weight)


def test_modules_are_rerouted_and_other_functions_are_not() -> None:
    layers = nn.Sequential(nn.Conv3d(1, 1, 1, bias=False), nn.ReLU(), nn.AvgPool3d(2))
    clips = torch.full((1, 1, 2, 2, 2), -3.0)
    with Rerouted(lambda call: call.input.abs()):
        assert layers(clips).tolist() == [[[[[3.0]]]]]
    assert layers(clips).item() != 3.0
