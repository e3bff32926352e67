"""Transitions in the form that inference engines compute fastest; what they compute stays the same. Not for learning.

The averages of a single tap are one pooling. Of other kernels, the kernels may be averaged instead of the maps
(`t3d.models.halving` has the equation): 64 taps for 27, but nothing besides the convolution, which counts in int8.
"""

from collections.abc import Sequence
from typing import cast

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from t3d.models.composite import NormReluConv
from t3d.models.halved_branches import can_halve, halved
from t3d.models.network import Network
from t3d.models.sizes import Size
from t3d.models.transitions import DenseTransition, HalvingPool, TemporalTransition
from t3d.tensors import FeatureMap


def make_static(network: Network, *, smooth_kernels: bool) -> None:
    """Replace the transitions of a network.

    Args:
        network: In evaluation mode; it is changed.
        smooth_kernels: Average kernels instead of maps.
    """
    for parent in list(network.modules()):
        for name, child in parent.named_children():
            branches = _branches(child)
            if branches and isinstance(child.pool, HalvingPool) and not child.pool.maximum and can_halve(branches):
                setattr(parent, name, _StaticHalving(branches, child.pool, smooth_kernels=smooth_kernels))


class _StaticHalving(nn.Module):
    """Branches and the pool after them."""

    def __init__(self, branches: Sequence[NormReluConv], pool: HalvingPool, *, smooth_kernels: bool) -> None:
        super().__init__()
        self.branches = nn.ModuleList(branches)
        self.pool = pool
        self.smooth_kernels = smooth_kernels
        wide = [index for index, branch in enumerate(branches) if smooth_kernels and not _is_single(branch)]
        for index in wide:
            for planes in {pool.time_stride, 1}:  # one of them is used: which one, the clips decide
                kernels = smoothed(branches[index].conv.weight.detach(), (planes, 2, 2))
                self.register_buffer(f"kernels_{index}_{planes}", kernels)

    def forward(self, features: Float[Tensor, "B C T H W"]) -> FeatureMap:
        """Map (B, C, T, H, W) to maps of half the size."""
        size = self.pool.size(features)
        branches = cast("Sequence[NormReluConv]", self.branches)
        return torch.cat([self._halve(index, branch, features, size) for index, branch in enumerate(branches)], dim=1)

    def _halve(self, index: int, branch: NormReluConv, features: Tensor, size: Size) -> Tensor:
        if not (_is_single(branch) or self.smooth_kernels):
            return halved([branch], features, size)
        features = F.relu(branch.norm(features))
        if _is_single(branch):
            pooled: Tensor = branch.conv(F.avg_pool3d(features, size))
            return pooled
        features = F.pad(features, (0, 0, 0, 0, 0, branch.extra_planes)) if branch.extra_planes else features
        kernels = self.get_buffer(f"kernels_{index}_{size[0]}")
        return F.conv3d(features, kernels, stride=size, padding=branch.conv.padding)


def smoothed(kernels: Float[Tensor, "D C T H W"], size: Size) -> Float[Tensor, "D C t h w"]:
    """Average kernels with themselves, one place further, in each axis that is halved: they grow by one there."""
    for axis, places in zip((2, 3, 4), size, strict=True):
        if places == 2:
            nothing = torch.zeros_like(kernels.narrow(axis, 0, 1))
            kernels = (torch.cat([kernels, nothing], axis) + torch.cat([nothing, kernels], axis)) / 2
    return kernels


def _is_single(branch: NormReluConv) -> bool:
    return branch.conv.kernel_size == (1, 1, 1)


def _branches(module: nn.Module) -> list[NormReluConv]:
    """What stands right before the pool of a transition."""
    if isinstance(module, DenseTransition):
        return [module.compress]
    if not isinstance(module, TemporalTransition) or isinstance(module.compress, NormReluConv):
        return []
    return list(cast("Sequence[NormReluConv]", module.branches))
