import pytest
import torch
import torch.nn.functional as F

from t3d.models.composite import NormReluConv, repeat_ends


def _passing_through(depth: int) -> NormReluConv:
    """A composite whose norm and ReLU leave an impulse alone, and whose weights number the planes 1, 2, ..."""
    layer = NormReluConv(1, 1, kernel=(depth, 1, 1)).double().eval()
    with torch.no_grad():
        layer.norm.running_var.fill_(1 - layer.norm.eps)
        layer.conv.weight.copy_(torch.arange(1.0, depth + 1).reshape(1, 1, depth, 1, 1))
    return layer


@pytest.mark.parametrize(
    ("depth", "answer"),  # an impulse in plane 4 of 9; the weights come out in reverse
    [
        (1, [0, 0, 0, 0, 1, 0, 0, 0, 0]),
        (2, [0, 0, 0, 2, 1, 0, 0, 0, 0]),
        (3, [0, 0, 0, 3, 2, 1, 0, 0, 0]),
        (4, [0, 0, 4, 3, 2, 1, 0, 0, 0]),
        (5, [0, 0, 5, 4, 3, 2, 1, 0, 0]),
        (6, [0, 6, 5, 4, 3, 2, 1, 0, 0]),
    ],
)
def test_even_depths_look_one_plane_further_ahead_than_back(depth: int, answer: list[int]) -> None:
    impulse = torch.zeros(1, 1, 9, 1, 1, dtype=torch.float64)
    impulse[0, 0, 4] = 1
    out = _passing_through(depth)(impulse).flatten()
    torch.testing.assert_close(out, torch.tensor(answer, dtype=torch.float64))


@pytest.mark.parametrize("replicate_time", [False, True])
@pytest.mark.parametrize("depth", range(1, 7))
@pytest.mark.parametrize("size", [(1, 1, 1), (5, 3, 7), (6, 4, 2)])
def test_size_is_kept(depth: int, size: tuple[int, int, int], replicate_time: bool) -> None:
    layer = NormReluConv(3, 5, kernel=(depth, 3, 3), replicate_time=replicate_time).eval()
    assert layer(torch.zeros(2, 3, *size)).shape == (2, 5, *size)


def test_padding_is_zero_after_the_norm() -> None:
    layer = NormReluConv(1, 1, kernel=(2, 1, 1)).eval()
    with torch.no_grad():
        layer.norm.bias.fill_(1)  # a plane of zeros comes out of norm and ReLU as ones; the padding must not
        layer.conv.weight.fill_(1)
    assert layer(torch.zeros(1, 1, 3, 1, 1)).flatten().tolist() == [2, 2, 1]


@pytest.mark.parametrize(
    ("depth", "answer"),  # weights 1, 2, ... over the planes 1, 2, 3 with the ends repeated
    [
        (1, [1, 2, 3]),
        (2, [1 + 4, 2 + 6, 3 + 6]),
        (3, [1 + 2 + 6, 1 + 4 + 9, 2 + 6 + 9]),
        (4, [1 + 2 + 6 + 12, 1 + 4 + 9 + 12, 2 + 6 + 9 + 12]),
    ],
)
def test_ends_are_repeated_on_request(depth: int, answer: list[int]) -> None:
    layer = NormReluConv(1, 1, kernel=(depth, 1, 1), replicate_time=True).double().eval()
    layer.load_state_dict(_passing_through(depth).state_dict())
    ramp = torch.tensor([1.0, 2, 3], dtype=torch.float64).reshape(1, 1, 3, 1, 1)
    torch.testing.assert_close(layer(ramp).flatten(), torch.tensor(answer, dtype=torch.float64))


def test_repeated_ends_are_those_of_torch() -> None:
    features = torch.randn(2, 3, 4, 2, 2, generator=torch.Generator().manual_seed(0))
    expected = F.pad(features, (0, 0, 0, 0, 5, 2), mode="replicate")
    assert torch.equal(repeat_ends(features, (5, 2)), expected)


def test_input_is_left_alone() -> None:
    features = torch.randn(2, 3, 2, 4, 4, generator=torch.Generator().manual_seed(0))
    before = features.clone()
    NormReluConv(3, 2)(features)
    assert torch.equal(features, before)
