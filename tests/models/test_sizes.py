import pytest
import torch
from torch import nn

from t3d.models.sizes import half, halved, rounded_up, times
from t3d.models.transitions import HalvingPool


def _lengths(layer: nn.Module, length: int) -> tuple[int, int, int]:
    """What a layer leaves of a map of (length, length + 1, length + 2)."""
    return tuple(layer(torch.zeros(1, 1, length, length + 1, length + 2)).shape[2:])


@pytest.mark.parametrize("kernel", [(1, 3, 5), (7, 7, 1)])
def test_half_a_kernel_of_padding_keeps_every_length(kernel: tuple[int, int, int]) -> None:
    conv = nn.Conv3d(1, 1, kernel, padding=half(kernel))
    assert _lengths(conv, 7) == (7, 8, 9)


def test_the_smallest_lengths_before_a_padded_layer() -> None:
    assert rounded_up((1, 4, 3), (2, 1, 2)) == (1, 4, 5)
    for kernel, stride, needed in [(3, 2, 1), (3, 2, 4), (7, 2, 3), (5, 3, 2), (1, 2, 5)]:
        smallest = rounded_up((needed,) * 3, (stride,) * 3)[0]
        layer = nn.Conv3d(1, 1, kernel, stride=stride, padding=kernel // 2)
        assert _lengths(layer, smallest)[0] == needed
        assert smallest == 1 or _lengths(layer, smallest - 1)[0] == needed - 1


def test_the_smallest_lengths_before_a_halving_pool() -> None:
    assert halved((2, 1, 7), time_stride=2) == (4, 2, 14)
    assert halved((2, 1, 7), time_stride=1) == (2, 2, 14)
    assert halved((1, 1, 7), time_stride=2, keep_last_plane=True) == (1, 2, 14)
    assert halved((2, 1, 7), time_stride=2, keep_last_plane=True) == (4, 2, 14)  # of two planes one would be left


@pytest.mark.parametrize("keep_last_plane", [False, True])
@pytest.mark.parametrize("needed", [1, 2, 3])
def test_so_many_planes_a_halving_pool_leaves(needed: int, keep_last_plane: bool) -> None:
    pool = HalvingPool(keep_last_plane=keep_last_plane)
    smallest = halved((needed, 1, 1), time_stride=2, keep_last_plane=keep_last_plane)[0]
    left = {planes: pool(torch.zeros(1, 1, planes, 2, 2)).shape[2] for planes in range(smallest, 9)}
    assert min(left.values()) == needed
    if smallest > 1:
        fewer = torch.zeros(1, 1, smallest - 1, 2, 2)
        if smallest - 1 >= 2 or keep_last_plane:
            assert pool(fewer).shape[2] < needed
        else:
            with pytest.raises(RuntimeError):
                pool(fewer)


def test_sizes_as_text() -> None:
    assert times((16, 112, 7)) == "16 x 112 x 7"
