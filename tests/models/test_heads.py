import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from t3d.errors import ConfigError
from t3d.models.heads import FullyConnected, GlobalMean, SlidingMean


def _map(*shape: int) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(0), dtype=torch.float64)


def test_the_mean_is_of_all_positions() -> None:
    features = _map(2, 3, 4, 5, 6)
    torch.testing.assert_close(GlobalMean()(features), features.flatten(2).sum(dim=2) / (4 * 5 * 6))


@pytest.mark.parametrize("planes", [2, 3, 4, 7])
def test_the_sliding_mean_equals_classifying_windows(planes: int) -> None:
    """Each window of 2 x 7 x 7 gets its logits, and these are averaged."""
    features, classifier = _map(2, 5, planes, 7, 7), nn.Linear(5, 3, dtype=torch.float64)
    windows = [features[:, :, first : first + 2].mean(dim=(2, 3, 4)) for first in range(planes - 1)]
    logits = torch.stack([classifier(window) for window in windows]).mean(dim=0)
    torch.testing.assert_close(classifier(SlidingMean()(features)), logits)


def test_inner_planes_count_twice() -> None:
    planes = torch.tensor([4.0, 8.0, 16.0])
    features = planes[None, None, :, None, None].expand(1, 1, 3, 7, 7)
    assert SlidingMean()(features).item() == (4 + 2 * 8 + 16) / 4


@pytest.mark.parametrize("size", [(1, 7, 7), (2, 6, 7), (2, 7, 8), (8, 4, 4)])
def test_a_map_of_another_size_does_not_suit_the_sliding_mean(size: tuple[int, int, int]) -> None:
    given = " x ".join(map(str, size))
    with pytest.raises(ConfigError, match=f"^a last map of {given} does not suit .* or --head mean$"):
        SlidingMean()(_map(1, 5, *size))


@pytest.mark.parametrize("size", [(2, 7, 7), (2, 6, 6), (3, 7, 6)])
def test_the_fully_connected_head_by_hand(size: tuple[int, int, int]) -> None:
    """The first window holds padding and one row, the others two rows, the last of an even map one and padding."""
    head = FullyConnected(3, width=4, dropout=0.5).double().eval()
    features = _map(2, 3, *size)
    first = features[:, :, :2].amax(dim=2)  # (B, C, H, W): an odd third plane is dropped
    rows = torch.stack([first[:, :, max(0, row - 1) : row + 1].amax(dim=2) for row in (0, 2, 4, 6)], dim=2)
    pooled = torch.stack([rows[..., max(0, column - 1) : column + 1].amax(dim=3) for column in (0, 2, 4, 6)], dim=3)
    hidden = (pooled.reshape(2, 3 * 4 * 4) @ head.fc6.weight.T + head.fc6.bias).clamp(min=0)
    torch.testing.assert_close(head(features), (hidden @ head.fc7.weight.T + head.fc7.bias).clamp(min=0))


def test_dropout_lies_between_the_linear_layers() -> None:
    head = FullyConnected(3, width=64, dropout=0.5).double().train()
    with torch.no_grad(), torch.random.fork_rng():
        head.fc7.weight.copy_(torch.eye(64))
        head.fc7.bias.zero_()
        torch.manual_seed(0)
        features = _map(1, 3, 2, 7, 7)
        seen, whole = head(features), head.eval()(features)
    kept = seen != 0
    torch.testing.assert_close(seen[kept], 2 * whole[kept])
    assert 0 < int(kept.sum()) < int((whole != 0).sum())


@pytest.mark.parametrize("size", [(2, 5, 7), (2, 7, 8), (4, 7, 7)])
def test_a_map_of_another_size_does_not_suit_the_fully_connected_head(size: tuple[int, int, int]) -> None:
    head, given = FullyConnected(3, width=4, dropout=0.0).double(), " x ".join(map(str, size))
    with pytest.raises(ConfigError, match=f"^a last map of {given} does not suit .* 16 x 112 x 112, or --head mean$"):
        head(_map(1, 3, *size))


def test_the_smallest_map_is_pooled_to_what_the_layers_need() -> None:
    pooled = F.max_pool3d(torch.zeros(1, 1, *FullyConnected.SMALLEST), 2, padding=(0, 1, 1))
    assert tuple(pooled.shape[2:]) == FullyConnected.POOLED
