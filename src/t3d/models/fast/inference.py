"""Copy a network for scoring, with fewer passes over its maps and less arithmetic; exact up to rounding."""

from collections.abc import Iterator
from copy import deepcopy
from typing import Any, TypeVar, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_weights

from t3d.errors import ConfigError
from t3d.models.fast.convolutions import Conv3dCall, conv3d_by_onednn
from t3d.models.fast.pool_then_conv import smoothed
from t3d.models.fast.training import undo_acceleration
from t3d.models.fast.transition import can_pool_first, last_branches, pool_then_convolve
from t3d.models.layers import ConvNorm, Size, pad_same, repeat_ends
from t3d.models.t3d import DenseLayer, DenseTransition, NormReluConv, Stem, TemporalTransition, TransitionPool

AnyModule = TypeVar("AnyModule", bound=nn.Module)


def prepare_for_inference(network: AnyModule, *, for_export: bool = False, smooth_kernels: bool = False) -> AnyModule:
    """Copy a network for scoring: norms are folded into convolutions, and transitions pool before they convolve.

    The copy is in evaluation mode and needs no gradients. Its state dict has the same names and values; loading
    another one updates the folded tensors, writing to parameters directly does not. Single float32 clips on a CPU are
    convolved by oneDNN, which PyTorch does not use for small ones. `torch.export` and `torch.compile` get standard
    operators.

    Args:
        network: Not modified. Any module; its `Conv3d`, `ConvNorm`, `Stem`, dense layers and transitions are replaced.
        for_export: Use one average pool for 1x1x1 branches, which inference engines compute fastest, and keep only
            tensors that are used: the copy's state dict then differs from the network's.
        smooth_kernels: Average kernels instead of maps (`pool_then_conv.smoothed`): 64 taps instead of 27, but only
            convolutions are left, which is faster in int8.

    Raises:
        ConfigError: Later, if the copy is put in training mode.
    """
    if getattr(network, "_t3d_for_export", False):
        raise ConfigError("this network was prepared for export; prepare the one it was copied from")
    copy = undo_acceleration(deepcopy(network)).eval().requires_grad_(False)
    for module in copy.modules():
        if _can_be_replaced(module):
            module.__class__ = _PREPARED[type(module)]
            module.register_load_state_dict_post_hook(_refresh)
        if isinstance(module, _InferenceTransition):
            module.average_pool, module.smooth_kernels = for_export, smooth_kernels
    for module in list(copy.modules()):
        if isinstance(module, _Prepared):
            module.refresh()
    if for_export:
        _discard_originals(copy)
        copy._t3d_for_export = True  # type: ignore[assignment]  # a plain attribute
    return copy


def _can_be_replaced(module: nn.Module) -> bool:
    if type(module) is nn.Conv3d:
        return module.padding_mode == "zeros" and not isinstance(module.padding, str)
    if isinstance(module, TemporalTransition | DenseTransition):
        return type(module) in _PREPARED and can_pool_first(last_branches(module), module.pool)
    if isinstance(module, ConvNorm | Stem):
        return type(module) in _PREPARED and _keeps_statistics(module.norm)
    if isinstance(module, DenseLayer):
        return type(module) in _PREPARED and _keeps_statistics(module.grow.norm)
    return type(module) in _PREPARED


def _keeps_statistics(norm: nn.Module) -> bool:
    return isinstance(norm, nn.BatchNorm3d) and norm.running_mean is not None


class _Prepared(nn.Module):
    """Base of all replaced modules: they keep their children, and cannot be trained."""

    def train(self, mode: bool = True) -> "_Prepared":
        """Refuse to be trained.

        Raises:
            ConfigError: `mode` is true.
        """
        if mode:
            raise ConfigError("this network was prepared for inference; train the one it was copied from")
        return super().train(mode)

    def refresh(self) -> None:
        """Recompute the folded tensors from the children."""

    def replaced(self) -> Iterator[nn.Module]:
        """Children whose tensors are not used in `forward`."""
        yield from ()


def _refresh(module: nn.Module, _: Any) -> None:  # noqa: ANN401  (PyTorch's list of misfits)
    """Called after a state dict was loaded into a module and its children."""
    cast("_Prepared", module).refresh()


def fuse_conv_bn(module: nn.Module, conv: nn.Conv3d, norm: nn.BatchNorm3d) -> None:
    """Register weight and bias of the convolution that equals `conv` followed by `norm` in evaluation mode."""
    assert norm.running_mean is not None
    assert norm.running_var is not None
    with torch.no_grad():
        weight, bias = fuse_conv_bn_weights(
            conv.weight, conv.bias, norm.running_mean, norm.running_var, norm.eps, norm.weight, norm.bias
        )
    module.register_buffer("fused_weight", weight.detach(), persistent=False)
    module.register_buffer("fused_bias", bias.detach(), persistent=False)


def _convolve_fused(module: nn.Module, inputs: Tensor, conv: nn.Conv3d) -> Tensor:
    weight, bias = module.get_buffer("fused_weight"), module.get_buffer("fused_bias")
    call = Conv3dCall(
        inputs, weight, bias, conv.stride, cast("tuple[int, ...]", conv.padding), conv.dilation, conv.groups
    )
    return conv3d_by_onednn(call)


class _InferenceConv3d(_Prepared, nn.Conv3d):
    """Convolution by oneDNN, where supported."""

    def forward(self, input: Tensor) -> Tensor:
        padding = cast("tuple[int, ...]", self.padding)
        return conv3d_by_onednn(
            Conv3dCall(input, self.weight, self.bias, self.stride, padding, self.dilation, self.groups)
        )


class _InferenceStem(_Prepared, Stem):
    """Folded convolution, ReLU, pool."""

    def refresh(self) -> None:
        fuse_conv_bn(self, self.conv, self.norm)

    def replaced(self) -> Iterator[nn.Module]:
        yield from (self.conv, self.norm)

    def forward(self, clips: Tensor) -> Tensor:
        return self.pool(_convolve_fused(self, repeat_ends(clips, self.repeats), self.conv).relu_())


class _InferenceConvNorm(_Prepared, ConvNorm):
    """Folded convolution, optionally ReLU."""

    def refresh(self) -> None:
        fuse_conv_bn(self, self.conv, self.norm)

    def replaced(self) -> Iterator[nn.Module]:
        yield from (self.conv, self.norm)

    def forward(self, features: Tensor) -> Tensor:
        if self.same:
            features = pad_same(features, self.conv.kernel_size, self.conv.stride)
        features = _convolve_fused(self, features, self.conv)
        return F.relu(features, inplace=True) if self.rectify else features


class _InferenceDenseLayer(_Prepared, DenseLayer):
    """Folds the second norm into the first convolution; the first norm stays, because a ReLU follows it."""

    def refresh(self) -> None:
        fuse_conv_bn(self, self.squeeze.conv, self.grow.norm)

    def replaced(self) -> Iterator[nn.Module]:
        yield from (self.squeeze.conv, self.grow.norm)

    def forward(self, features: Tensor) -> Tensor:
        seen = F.relu(self.squeeze.norm(features), inplace=True)
        narrow = F.relu(_convolve_fused(self, seen, self.squeeze.conv), inplace=True)
        if self.grow.extra_planes:
            narrow = F.pad(narrow, (0, 0, 0, 0, 0, self.grow.extra_planes))
        return torch.cat([features, self.grow.conv(repeat_ends(narrow, self.grow.repeats))], dim=1)


class _InferenceTransition(_Prepared):
    """Pool, then convolve."""

    average_pool: bool
    smooth_kernels: bool

    def refresh(self) -> None:
        pool = cast("TransitionPool", self.pool)
        for index, branch in enumerate(last_branches(self)):
            if self.smooth_kernels and not _is_single(branch):
                for planes in {pool.time_stride, 1}:  # one of them is used, depending on the clips
                    kernels = smoothed(branch.conv.weight.detach(), (planes, 2, 2))
                    self.register_buffer(f"smoothed_{index}_{planes}", kernels, persistent=False)

    def replaced(self) -> Iterator[nn.Module]:
        yield from (branch.conv for branch in last_branches(self) if self.smooth_kernels and not _is_single(branch))

    def forward(self, features: Tensor) -> Tensor:
        branches = last_branches(self)
        if isinstance(self, TemporalTransition) and branches[0] is self.compress:
            features = torch.cat([branch(features) for branch in self.branches], dim=1)
        size = cast("TransitionPool", self.pool).kernel_size(features)
        return torch.cat([self._pooled(index, branch, features, size) for index, branch in enumerate(branches)], dim=1)

    def _pooled(self, index: int, branch: NormReluConv, features: Tensor, size: Size) -> Tensor:
        """Output of a branch after the pool."""
        features = F.relu(branch.norm(features))
        if _is_single(branch) and self.average_pool:
            return branch.conv(F.avg_pool3d(features, size))
        if _is_single(branch) or not self.smooth_kernels:
            return pool_then_convolve(features, branch.conv.weight, size, _by_onednn)
        features = F.pad(features, (0, 0, 0, 0, 0, branch.extra_planes)) if branch.extra_planes else features
        kernels = self.get_buffer(f"smoothed_{index}_{size[0]}")
        padding = cast("tuple[int, ...]", branch.conv.padding)
        return _by_onednn(features, kernels, stride=size, padding=padding)


class _InferenceTemporalTransition(_InferenceTransition, TemporalTransition):
    pass


class _InferenceDenseTransition(_InferenceTransition, DenseTransition):
    pass


_PREPARED: dict[type[nn.Module], type[_Prepared]] = {
    nn.Conv3d: _InferenceConv3d,
    ConvNorm: _InferenceConvNorm,
    DenseLayer: _InferenceDenseLayer,
    DenseTransition: _InferenceDenseTransition,
    Stem: _InferenceStem,
    TemporalTransition: _InferenceTemporalTransition,
}


def _by_onednn(*arguments: Any, **options: Any) -> Tensor:  # noqa: ANN401  (those of torch.conv3d)
    return conv3d_by_onednn(Conv3dCall(*arguments, **options))


def _is_single(branch: NormReluConv) -> bool:
    return branch.conv.kernel_size == (1, 1, 1)


def _discard_originals(copy: nn.Module) -> None:
    """Drop tensors that others were derived from, so that an exported file holds each weight once."""
    for module in list(copy.modules()):
        for child in module.replaced() if isinstance(module, _Prepared) else ():
            for name in [*child._parameters, *child._buffers]:
                setattr(child, name, None)
