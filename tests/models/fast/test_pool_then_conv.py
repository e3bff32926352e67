"""Sums of neighbours: what a convolution and the pool after it make of them, and that `backward` is their adjoint."""

import itertools

import pytest
import torch
import torch.nn.functional as F

from t3d.models.fast.pool_then_conv import PoolThenConv, smoothed

KERNELS = [(taps, area, area) for taps, area in itertools.product((1, 2, 3, 4, 5, 6), (1, 3))]
POOLS = [(2, 2, 2), (1, 2, 2)]


@pytest.mark.parametrize("kernel", KERNELS)
@pytest.mark.parametrize("pool", POOLS)
@pytest.mark.parametrize("size", [(2, 2, 2), (3, 5, 4), (8, 6, 7), (9, 3, 3)])
def test_convolved_sums_are_pooled_convolutions(
    kernel: tuple[int, int, int], pool: tuple[int, int, int], size: tuple[int, int, int]
) -> None:
    generator = torch.Generator().manual_seed(0)
    maps = torch.randn(2, 3, *size, generator=generator, dtype=torch.float64)
    weight = torch.randn(4, 3, *kernel, generator=generator, dtype=torch.float64)
    before = ((kernel[0] - 1) // 2, kernel[1] // 2, kernel[2] // 2)
    zeros = [
        amount for taps, early in zip(kernel[::-1], before[::-1], strict=True) for amount in (early, taps - 1 - early)
    ]
    expected = F.avg_pool3d(F.conv3d(F.pad(maps, zeros), weight), pool)

    order = PoolThenConv(kernel=kernel, before=before, pool=pool)
    convolved = F.conv3d(order.sums(maps), weight, stride=order.stride, padding=order.padding(maps))

    torch.testing.assert_close(order.factor * convolved, expected, rtol=0, atol=1e-13)
    with torch.no_grad():  # piece by piece, in any order in memory
        assert order.sums(maps).equal(order.sums(maps.requires_grad_()))
        last = maps.contiguous(memory_format=torch.channels_last_3d)
        assert order.sums(last).equal(order.sums(maps))


@pytest.mark.parametrize("kernel", KERNELS)
@pytest.mark.parametrize("pool", POOLS)
@pytest.mark.parametrize("size", [(2, 2, 2), (5, 3, 4), (8, 7, 6)])
def test_backward_is_the_gradient_of_the_sums(
    kernel: tuple[int, int, int], pool: tuple[int, int, int], size: tuple[int, int, int]
) -> None:
    order = PoolThenConv(kernel=kernel, before=((kernel[0] - 1) // 2, kernel[1] // 2, kernel[2] // 2), pool=pool)
    maps = torch.randn(1, 2, *size, dtype=torch.float64, requires_grad=True)
    sums = order.sums(maps)
    grad = torch.randn_like(sums)
    (expected,) = torch.autograd.grad(sums, maps, grad)
    torch.testing.assert_close(order.backward(grad, maps), expected, rtol=0, atol=1e-13)


def test_sums_by_hand() -> None:
    maps = torch.tensor([1.0, 2.0, 4.0, 8.0, 16.0]).view(1, 1, 5, 1, 1).expand(1, 1, 5, 2, 2)
    single = PoolThenConv(kernel=(1, 1, 1), before=(0, 0, 0), pool=(2, 2, 2))
    assert single.sums(maps).flatten().tolist() == [12.0, 48.0]  # (1 + 2) * 4, (4 + 8) * 4; the fifth plane is dropped
    three = PoolThenConv(kernel=(3, 1, 1), before=(1, 0, 0), pool=(2, 2, 2))
    assert three.sums(maps).flatten().tolist() == [4.0, 12.0, 24.0, 48.0, 96.0]
    assert three.stride == (2, 1, 1)


def test_a_kernel_is_averaged_with_itself_one_tap_further() -> None:
    kernel = torch.tensor([1.0, 4.0, 2.0]).view(1, 1, 1, 1, 3)
    assert smoothed(kernel, (1, 1, 2)).flatten().tolist() == [0.5, 2.5, 3.0, 1.0]
    assert smoothed(kernel, (2, 1, 1)).shape == (1, 1, 2, 1, 3)
    assert smoothed(kernel, (1, 1, 1)).equal(kernel)
