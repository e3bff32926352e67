import math
from dataclasses import dataclass

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from t3d.errors import ConfigError
from t3d.models.layers import (
    ConvNorm,
    MaxPoolSame,
    check_at_least_one,
    check_depths,
    check_odd,
    check_ranges,
    half,
    pad_same,
    repeat_ends,
    size_before_pool,
    size_before_stride,
    times,
)
from t3d.models.t3d import TransitionPool


def _map(*shape: int) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(0), dtype=torch.float64)


@pytest.mark.parametrize(
    ("length", "kernel", "stride", "before", "after"),
    [
        (224, 7, 2, 2, 3),  # 224 = 2 * 112: five are missing, the odd one behind
        (9, 7, 2, 3, 3),  # 9 = 2 * 4 + 1: six are missing
        (4, 3, 2, 0, 1),
        (5, 3, 2, 1, 1),
        (4, 2, 2, 0, 0),
        (5, 2, 2, 0, 1),
        (6, 3, 1, 1, 1),
        (6, 2, 1, 0, 1),
        (7, 3, 3, 1, 1),  # 7 = 2 * 3 + 1
        (8, 3, 3, 0, 1),
        (5, 1, 2, 0, 0),
    ],
)
@pytest.mark.parametrize("axis", [2, 3, 4])
def test_padding_by_hand(length: int, kernel: int, stride: int, before: int, after: int, axis: int) -> None:
    shape, kernels, strides = [1, 1, 1, 1, 1], [1, 1, 1], [1, 1, 1]
    shape[axis], kernels[axis - 2], strides[axis - 2] = length, kernel, stride
    padded = pad_same(torch.ones(shape), tuple(kernels), tuple(strides))
    assert padded.numel() == padded.shape[axis]  # nothing elsewhere
    assert padded.flatten().tolist() == [0.0] * before + [1.0] * length + [0.0] * after


@pytest.mark.parametrize("size", [(4, 9, 6), (5, 8, 7), (1, 2, 3)])
def test_every_length_is_divided_and_rounded_up(size: tuple[int, int, int]) -> None:
    features = _map(2, 3, *size)
    layers = [
        ConvNorm(3, 2, kernel=(3, 5, 7), stride=(2, 1, 3)),
        ConvNorm(3, 2, kernel=(3, 5, 7), stride=(2, 1, 3), same=True),
        MaxPoolSame((3, 5, 2), (2, 1, 3)),
    ]
    expected = tuple(math.ceil(length / stride) for length, stride in zip(size, (2, 1, 3), strict=True))
    assert [tuple(layer.double().eval()(features).shape[2:]) for layer in layers] == [expected] * 3


@pytest.mark.parametrize("rectify", [True, False])
@pytest.mark.parametrize("same", [True, False])
def test_convolution_norm_and_relu_in_this_order(same: bool, rectify: bool) -> None:
    layer = ConvNorm(3, 4, kernel=(3, 3, 5), stride=(2, 2, 1), rectify=rectify, same=same, norm=(0.5, 0.25))
    layer = layer.double().eval()
    with torch.no_grad():
        for name, tensor in layer.norm.named_buffers():
            if name != "num_batches_tracked":
                tensor.copy_(torch.tensor([0.5, 1.5, 2.0, 0.1]))
        layer.norm.weight.copy_(torch.tensor([1.0, -2.0, 0.5, 3.0]))
        layer.norm.bias.copy_(torch.tensor([0.1, 0.2, -0.3, 0.0]))
    features = _map(2, 3, 4, 6, 5)  # even lengths: without `same` one zero on both sides, with it one behind
    padded = F.pad(features, (2, 2, 0, 1, 0, 1) if same else (2, 2, 1, 1, 1, 1))
    seen = F.conv3d(padded, layer.conv.weight, stride=(2, 2, 1))
    per_channel = {key: tensor[:, None, None, None] for key, tensor in layer.norm.state_dict().items() if tensor.ndim}
    seen = (seen - per_channel["running_mean"]) / (per_channel["running_var"] + 0.5).sqrt()
    seen = seen * per_channel["weight"] + per_channel["bias"]
    torch.testing.assert_close(layer(features), seen.clamp(min=0) if rectify else seen)
    assert (layer.conv.bias, layer.norm.momentum) == (None, 0.25)


def test_the_pool_takes_the_maximum_of_what_is_there() -> None:
    features = torch.tensor([1.0, 5.0, 2.0, 3.0, 4.0])[None, None, :, None, None]
    assert MaxPoolSame((2, 1, 1), (2, 1, 1))(features).flatten().tolist() == [5, 3, 4]
    assert MaxPoolSame((3, 1, 1), (2, 1, 1))(features).flatten().tolist() == [5, 5, 4]


def test_repeated_ends_are_those_of_torch() -> None:
    features = torch.randn(2, 3, 4, 2, 2, generator=torch.Generator().manual_seed(0))
    expected = F.pad(features, (0, 0, 0, 0, 5, 2), mode="replicate")
    assert torch.equal(repeat_ends(features, (5, 2)), expected)


def _lengths(layer: nn.Module, length: int) -> tuple[int, int, int]:
    """What a layer leaves of a map of (length, length + 1, length + 2)."""
    return tuple(layer(torch.zeros(1, 1, length, length + 1, length + 2)).shape[2:])


@pytest.mark.parametrize("kernel", [(1, 3, 5), (7, 7, 1)])
def test_half_a_kernel_of_padding_keeps_every_length(kernel: tuple[int, int, int]) -> None:
    conv = nn.Conv3d(1, 1, kernel, padding=half(kernel))
    assert _lengths(conv, 7) == (7, 8, 9)


def test_the_smallest_lengths_before_a_padded_layer() -> None:
    assert size_before_stride((1, 4, 3), (2, 1, 2)) == (1, 4, 5)
    for kernel, stride, needed in [(3, 2, 1), (3, 2, 4), (7, 2, 3), (5, 3, 2), (1, 2, 5)]:
        smallest = size_before_stride((needed,) * 3, (stride,) * 3)[0]
        layer = nn.Conv3d(1, 1, kernel, stride=stride, padding=kernel // 2)
        assert _lengths(layer, smallest)[0] == needed
        assert smallest == 1 or _lengths(layer, smallest - 1)[0] == needed - 1


def test_the_smallest_lengths_before_a_halving_pool() -> None:
    assert size_before_pool((2, 1, 7), time_stride=2) == (4, 2, 14)
    assert size_before_pool((2, 1, 7), time_stride=1) == (2, 2, 14)
    assert size_before_pool((1, 1, 7), time_stride=2, keep_last_plane=True) == (1, 2, 14)
    assert size_before_pool((2, 1, 7), time_stride=2, keep_last_plane=True) == (
        4,
        2,
        14,
    )  # of two planes one would be left


@pytest.mark.parametrize("keep_last_plane", [False, True])
@pytest.mark.parametrize("needed", [1, 2, 3])
def test_so_many_planes_a_halving_pool_leaves(needed: int, keep_last_plane: bool) -> None:
    pool = TransitionPool(keep_last_plane=keep_last_plane)
    smallest = size_before_pool((needed, 1, 1), time_stride=2, keep_last_plane=keep_last_plane)[0]
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


@dataclass
class _Literals:
    width: int = 1
    sizes: tuple[int, ...] = (1, 3, 7)


@pytest.mark.parametrize(
    ("literals", "says"),
    [
        (_Literals(width=0), "width 0 must be at least 1"),
        (_Literals(width=-2), "width -2 must be at least 1"),
        (_Literals(sizes=(3, 0, 3)), r"sizes \(3, 0, 3\) must be at least 1"),
        (_Literals(sizes=()), r"sizes \(\) must be at least 1"),
    ],
)
def test_counts_below_one_are_refused(literals: _Literals, says: str) -> None:
    check_at_least_one(_Literals(), "width", "sizes")
    with pytest.raises(ConfigError, match=f"^{says}$"):
        check_at_least_one(literals, "width", "sizes")


@pytest.mark.parametrize(
    ("literals", "says"),
    [
        (_Literals(width=2), "width 2 must be odd"),
        (_Literals(sizes=(3, 3, 4)), r"sizes \(3, 3, 4\) must be odd"),
        (_Literals(width=-1), "width -1 must be at least 1"),
    ],
)
def test_even_kernels_are_refused(literals: _Literals, says: str) -> None:
    check_odd(_Literals(), "width", "sizes")
    check_odd(literals)
    with pytest.raises(ConfigError, match=f"^{says}$"):
        check_odd(literals, "width", "sizes")


@pytest.mark.parametrize("depths", [((1, 3), None), ((1, 3), None, None, None), ()])
def test_depths_must_fit_the_stages(depths: tuple[tuple[int, ...] | None, ...]) -> None:
    check_depths(((1, 3), None, (4,)), 4)
    with pytest.raises(ConfigError, match=r"must have 3 entries, one after each of the 4 stages but the last$"):
        check_depths(depths, 4)


@pytest.mark.parametrize("depths", [((),), ((1, 0),), ((-3,),)])
def test_depths_are_frames(depths: tuple[tuple[int, ...] | None, ...]) -> None:
    with pytest.raises(ConfigError, match=r"must name depths of at least 1, or None$"):
        check_depths(depths, 2)


def test_ranges() -> None:
    check_ranges(0, 0.0)
    check_ranges(7, 0.999)
    with pytest.raises(ConfigError, match=r"^neck -1 must be at least 0$"):
        check_ranges(-1, 0.0)
    for dropout in (-0.1, 1.0):
        with pytest.raises(ConfigError, match=f"^dropout {dropout} must be at least 0 and below 1$"):
            check_ranges(0, dropout)
