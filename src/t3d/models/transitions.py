"""What stands between two stages: the temporal transition of T3D, and DenseNet's own. Both end in one pooling."""

from collections.abc import Sequence
from typing import cast

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from t3d.errors import ConfigError
from t3d.models.composite import NormReluConv
from t3d.models.halved_branches import can_halve, halved
from t3d.models.sizes import Size
from t3d.tensors import FeatureMap


class HalvingPool(nn.Module):
    """Pool of 2 in H and W and `time_stride` in T; an odd last plane, row or column is dropped.

    Args:
        time_stride: 2 halves time, 1 leaves it alone.
        keep_last_plane: Leave time alone once fewer planes than that are left, instead of failing.
        maximum: Take the largest value instead of the average.
    """

    def __init__(self, *, time_stride: int = 2, keep_last_plane: bool = False, maximum: bool = False) -> None:
        super().__init__()
        self.time_stride = time_stride
        self.keep_last_plane = keep_last_plane
        self.maximum = maximum

    def forward(self, features: Tensor) -> Tensor:
        """Map (B, C, T, H, W) to (B, C, T // time_stride, H // 2, W // 2)."""
        size = self.size(features)
        return F.max_pool3d(features, size) if self.maximum else F.avg_pool3d(features, size)

    def size(self, features: Tensor) -> Size:
        """Places of these features that become one, in (T, H, W)."""
        too_few = features.shape[2] < self.time_stride
        return 1 if self.keep_last_plane and too_few else self.time_stride, 2, 2


class TemporalTransition(nn.Module):
    """Look at several temporal depths at once, then halve time and space.

    Parallel branches on one input, each BN, ReLU and a convolution to `width` channels, are concatenated and pooled.

    Args:
        in_channels: Channels of the stage before.
        depths: Frames each branch looks at; depth 1 is a 1x1x1 kernel, depth d a d x 3 x 3 one (T, H, W).
        width: Channels of each branch; one number for all, or one for each.
        compress: Follow the concatenation by BN, ReLU and a 1x1x1 convolution of equal width, as in the authors'
            deleted code; Table 1 and Fig. 1 have none.
        flat: Look at one frame in every branch, with the height and width its depth has.
        replicate_time: See the first and last plane again beyond them, instead of zeros.
        pool: What halves the map; average of 2 x 2 x 2 when not given.

    Raises:
        ConfigError: There is no depth, or one below 1.

    Source: Diba et al. 2017, arXiv:1711.08200, section 3.1, Table 1. The side of the padding of even depths is not
    stated there; see `NormReluConv`.
    """

    def __init__(
        self,
        in_channels: int,
        *,
        depths: Sequence[int] = (1, 3, 4),
        width: int | Sequence[int] = 128,
        compress: bool = False,
        flat: bool = False,
        replicate_time: bool = False,
        pool: nn.Module | None = None,
    ) -> None:
        super().__init__()
        if min(depths, default=0) < 1:
            raise ConfigError(f"depths {tuple(depths)} must name frames, each at least 1")
        widths = [width] * len(depths) if isinstance(width, int) else list(width)
        self.out_channels = sum(widths)
        self.branches = nn.ModuleList(
            NormReluConv(in_channels, channels, kernel=_kernel(depth, flat=flat), replicate_time=replicate_time)
            for depth, channels in zip(depths, widths, strict=True)
        )
        self.compress = NormReluConv(self.out_channels, self.out_channels) if compress else nn.Identity()
        self.pool = HalvingPool() if pool is None else pool

    def forward(self, features: Float[Tensor, "B C T H W"]) -> FeatureMap:
        """Concatenate what the branches see, then pool: (B, out_channels, T // 2, H // 2, W // 2)."""
        if isinstance(self.compress, NormReluConv):
            seen = torch.cat([branch(features) for branch in self.branches], dim=1)
            return _pooled([self.compress], seen, self.pool)
        return _pooled(cast("list[NormReluConv]", list(self.branches)), features, self.pool)


def same_width_transition(
    channels: int, *, depths: Sequence[int] = (1, 3, 4), flat: bool = False, pool: nn.Module | None = None
) -> TemporalTransition:
    """Build a transition that gives as many channels as it takes: one for networks of other families.

    The branches share the channels as evenly as they can, the first ones get what is left over. All other weights of
    the network keep their shapes, and load.

    Args:
        channels: Taken and given.
        depths: Frames each branch looks at.
        flat: See `TemporalTransition`.
        pool: What halves the map; average of 2 x 2 x 2 when not given.

    Source: that the layer serves ResNet3D and Inception3D is Diba et al. 2017, arXiv:1711.08200, section 3.1; how wide
    its branches are there is not stated, this is the project's decision.
    """
    share, rest = divmod(channels, max(1, len(depths)))
    widths = [share + (index < rest) for index in range(len(depths))]
    return TemporalTransition(channels, depths=depths, width=widths, flat=flat, pool=pool)


class DenseTransition(nn.Module):
    """Halve the channels by BN, ReLU and a 1x1x1 convolution, then halve time and space.

    Source: Huang et al. 2017, arXiv:1608.06993, section 3, in three dimensions.
    """

    def __init__(self, in_channels: int, *, pool: nn.Module) -> None:
        super().__init__()
        self.out_channels = in_channels // 2
        self.compress = NormReluConv(in_channels, self.out_channels)
        self.pool = pool

    def forward(self, features: Float[Tensor, "B C T H W"]) -> FeatureMap:
        """Map (B, C, T, H, W) to (B, C // 2, T // 2, H // 2, W // 2)."""
        return _pooled([self.compress], features, self.pool)


def _pooled(branches: Sequence[NormReluConv], features: Tensor, pool: nn.Module) -> Tensor:
    """Concatenate what the branches see, and pool; averages are taken before the convolutions, which costs less."""
    if isinstance(pool, HalvingPool) and not pool.maximum and can_halve(branches):
        return halved(branches, features, pool.size(features))
    return pool(torch.cat([branch(features) for branch in branches], dim=1))


def _kernel(depth: int, *, flat: bool) -> tuple[int, int, int]:
    return (1, 1, 1) if depth == 1 else (1 if flat else depth, 3, 3)
