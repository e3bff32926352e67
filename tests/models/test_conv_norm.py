import math

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from t3d.models.conv_norm import ConvNorm, MaxPoolSame, pad_same


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
