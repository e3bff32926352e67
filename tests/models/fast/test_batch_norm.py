import torch
from torch import nn

from t3d.models.fast.batch_norm import can_share_statistics, compute_statistics


def test_float16_is_left_to_pytorch_whose_sums_stay_in_range() -> None:
    norms = [nn.BatchNorm3d(2)]
    maps = torch.randn(2, 2, 2, 2, 2)
    assert can_share_statistics(maps, norms)
    assert not can_share_statistics(maps.half(), norms)
    with torch.autocast("cpu", torch.float16):
        assert not can_share_statistics(maps, norms)
    with torch.autocast("cpu", torch.bfloat16):
        assert can_share_statistics(maps, norms)


def test_only_plain_norms_are_shared() -> None:
    maps = torch.randn(2, 2, 2, 2, 2)
    for other in (nn.SyncBatchNorm(2), nn.BatchNorm3d(2, affine=False), nn.BatchNorm3d(2, momentum=None)):
        assert not can_share_statistics(maps, [nn.BatchNorm3d(2), other])
    assert not can_share_statistics(maps, [nn.BatchNorm3d(2), nn.BatchNorm3d(2).eval()])
    assert not can_share_statistics(maps[:1, :, :1, :1, :1], [nn.BatchNorm3d(2)])


def test_statistics_by_hand() -> None:
    maps = torch.tensor([[1.0, 3.0], [5.0, 7.0]]).view(2, 1, 1, 1, 2)
    found = compute_statistics(maps)
    assert found.mean.tolist() == [4.0]
    assert found.variance.tolist() == [5.0]  # (9 + 1 + 1 + 9) / 4
