"""Insert temporal transitions into other networks: the families of this package, or a stage of any network."""

from collections import OrderedDict
from collections.abc import Sequence
from copy import deepcopy

import torch
from torch import Generator, Tensor, nn

from t3d.errors import ConfigError
from t3d.models.layers import Size
from t3d.models.t3d import TemporalTransition, TransitionPool

_STRIDED = nn.Conv3d | nn.MaxPool3d | nn.AvgPool3d
_BY_HAND = "give another one, or put t3d.models.TemporalTransition in front by hand"


def same_width_transition(
    channels: int, *, depths: Sequence[int] = (1, 3, 4), flat: bool = False, pool: nn.Module | None = None
) -> TemporalTransition:
    """Build a transition with as many output as input channels, so that all other weights keep their shapes.

    The branches share the channels as evenly as possible; the first ones get the remainder.

    Args:
        channels: Of input and output.
        depths: Frames each branch looks at.
        flat: See `TemporalTransition`.
        pool: What halves the map; average of 2 x 2 x 2 when not given.

    Source: Diba et al. 2017, arXiv:1711.08200, section 3.1, for the layer in ResNet3D and Inception3D. The paper does
    not state its width there; it is this project's decision.
    """
    share, rest = divmod(channels, max(1, len(depths)))
    widths = [share + (index < rest) for index in range(len(depths))]
    return TemporalTransition(channels, depths=depths, width=widths, flat=flat, pool=pool)


def with_transition(
    stage: nn.Module,
    channels: int,
    *,
    depths: Sequence[int] = (1, 3, 4),
    size: Size = (8, 16, 16),
    generator: Generator | None = None,
) -> nn.Sequential:
    """Copy a stage and put a temporal transition in front that downsamples instead of the stage.

    In the copy, every convolution at the input resolution gets stride 1, shortcuts included, and every such pool
    becomes an identity. No weight changes its shape: weights of the stage still load, under `stage`; the transition's
    weights are new, under `transition`. The output keeps its size, except for odd lengths, which a padded convolution
    rounds up and a transition rounds down.

    Args:
        stage: Maps (B, C, T, H, W) to one map; not modified.
        channels: Of its input.
        depths: Frames each branch of the transition looks at.
        size: Even (T, H, W) of the input with which the stage is traced on the meta device.
        generator: Source of the transition's weights (He's initialisation); PyTorch's own when not given.

    Raises:
        ConfigError: The stage does not accept such an input, does not halve it by modules, or would give another size.

    Source: Diba et al. 2017, arXiv:1711.08200, section 3.1, for the layer in other networks. The paper does not
    state its position; before a stage is this project's decision.
    """
    sizes, given = _tried(stage, channels, size)
    halving, stride = _find_halving(stage, [name for name, seen in sizes.items() if seen == size])
    pool = TransitionPool(time_stride=stride[0])
    transition = same_width_transition(channels, depths=depths, pool=pool)
    _initialise(transition, like=stage, generator=generator)
    whole = nn.Sequential(OrderedDict(transition=transition, stage=deepcopy(stage)))
    for name in halving:
        _stop_halving(whole, f"stage.{name}" if name else "stage")
    _, now = _tried(whole, channels, size, what="behind a transition the stage")
    if now != given:
        raise ConfigError(
            f"of a map of {size} the stage gives {given}, but {now} behind a transition: it also halves outside of "
            f"modules, or its kernels are not padded; {_BY_HAND}"
        )
    return whole


def _tried(stage: nn.Module, channels: int, size: Size, what: str = "the stage") -> tuple[dict[str, Size], Size]:
    """Input size of each layer that could halve a map, by name; and the size of the output."""
    trial = deepcopy(stage).to(device="meta", dtype=torch.float32).eval()
    sizes: dict[str, Size] = {}
    for name, module in trial.named_modules():
        if isinstance(module, _STRIDED):
            module.register_forward_pre_hook(lambda _, inputs, name=name: sizes.update({name: _size(inputs[0])}))
    try:
        with torch.no_grad():
            out = trial(torch.empty(1, channels, *size, device="meta"))
    except (RuntimeError, TypeError, ValueError) as error:
        reason = " ".join(str(error).split())[:200]
        raise ConfigError(f"{what} does not take {channels} channels of {size} ({reason}); {_BY_HAND}") from error
    return sizes, _size(out)


def _find_halving(stage: nn.Module, names: Sequence[str]) -> tuple[list[str], Size]:
    """The layers that halve the map, with their strides."""
    strides = {name: stride for name in names if (stride := _stride(stage, name)) != (1, 1, 1)}
    if set(strides.values()) not in ({(1, 2, 2)}, {(2, 2, 2)}):
        found = ", ".join(f"{name or 'itself'} {stride}" for name, stride in strides.items()) or "none"
        raise ConfigError(
            "the stage must halve its map by convolutions and pools of one stride, (2, 2, 2) or (1, 2, 2), but has "
            f"{found}; {_BY_HAND}"
        )
    return list(strides), next(iter(strides.values()))


def _size(features: Tensor) -> Size:
    time, height, width = features.shape[2:]
    return time, height, width


def _stride(stage: nn.Module, name: str) -> Size:
    stride = stage.get_submodule(name).stride
    return stride if isinstance(stride, tuple) else (stride, stride, stride)  # type: ignore[return-value]


def _stop_halving(whole: nn.Module, name: str) -> None:
    layer = whole.get_submodule(name)
    if isinstance(layer, nn.Conv3d):
        layer.stride = (1, 1, 1)
    else:
        whole.set_submodule(name, nn.Identity())


def _initialise(transition: nn.Module, *, like: nn.Module, generator: Generator | None) -> None:
    """Initialise the weights as in this package's networks, on the device and in the dtype of the stage."""
    for module in transition.modules():
        if isinstance(module, nn.Conv3d):
            nn.init.kaiming_normal_(module.weight, nonlinearity="relu", generator=generator)
    transition.train(like.training)
    for parameter in like.parameters():
        transition.to(parameter)
        break
