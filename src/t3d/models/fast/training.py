"""Make a network train faster, in place: same parameters and names, fused training steps."""

from typing import TypeVar

from torch import nn

from t3d.errors import ConfigError
from t3d.models.fast.dense_block import FusedDenseBlock, supports_fused
from t3d.models.fast.stem import FusedStem
from t3d.models.fast.transition import FusedDenseTransition, FusedTemporalTransition
from t3d.models.t3d import DenseBlock, DenseTransition, Stem, TemporalTransition

AnyModule = TypeVar("AnyModule", bound=nn.Module)

_FUSED: dict[type[nn.Module], type[nn.Module]] = {
    DenseBlock: FusedDenseBlock,
    DenseTransition: FusedDenseTransition,
    Stem: FusedStem,
    TemporalTransition: FusedTemporalTransition,
}


def accelerate(network: AnyModule, *, recompute: bool = False) -> AnyModule:
    """Make stems, dense blocks and transitions compute a training step faster and in less memory, in place.

    Parameters, buffers, hooks and state-dict names stay; results and gradients differ by rounding. Only the classes of
    modules change, as in `torch.nn.utils.parametrize`, so `network` may be such a module itself. If called again, the
    last `recompute` counts. `undo_acceleration` reverts it.

    Args:
        network: Any module; each `Stem`, `DenseBlock`, `DenseTransition` and `TemporalTransition` is accelerated.
        recompute: Recompute the narrow maps of dense blocks for the gradient: less memory, more time.

    Raises:
        ConfigError: `recompute` would have no effect: there are no dense blocks, or all have dropout or repeated
            planes. The network is not changed.
    """
    if recompute:
        _check_recompute(network)
    for module in network.modules():
        if type(module) in _FUSED:
            module.__class__ = _FUSED[type(module)]
        if isinstance(module, FusedDenseBlock):
            module.recompute = recompute
    return network


def undo_acceleration(network: AnyModule) -> AnyModule:
    """Revert `accelerate`, in place."""
    plain = {fused: given for given, fused in _FUSED.items()}
    for module in network.modules():
        if type(module) in plain:
            vars(module).pop("recompute", None)
            module.__class__ = plain[type(module)]
    return network


def supports_recompute(network: nn.Module) -> bool:
    """Whether `accelerate(network, recompute=True)` would save memory."""
    return any(supports_fused(block) and not getattr(block, "recompute", False) for block in _dense_blocks(network))


def _dense_blocks(network: nn.Module) -> list[DenseBlock]:
    return [module for module in network.modules() if isinstance(module, DenseBlock)]


def _check_recompute(network: nn.Module) -> None:
    blocks = _dense_blocks(network)
    if not blocks:
        raise ConfigError("only dense blocks can be computed anew, and this network has none; use T3D or DenseNet3D")
    if not any(supports_fused(block) for block in blocks):
        raise ConfigError("dense blocks with dropout or repeated planes cannot be computed anew; leave out --recompute")
