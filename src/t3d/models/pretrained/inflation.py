"""Initialise a 3D network from the weights of its 2D twin."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from t3d.errors import CheckpointError, ConfigError
from t3d.models.layers import times
from t3d.models.network import Network
from t3d.models.registry import architecture, override


@dataclass(frozen=True, kw_only=True)
class Inflation:
    """Which tensors of a network were copied, in its order."""

    copied: tuple[str, ...]
    """Names of the tensors that came from the 2D weights."""
    fresh: tuple[str, ...]
    """Names of the tensors that were not changed."""


def twin_overrides(name: str, **overrides: object) -> dict[str, object]:
    """Overrides of the 2D twin: the same network with every kernel, stride and pool 1 in time.

    The twin has the same tensor names and, except for the temporal size of kernels, the same shapes. It processes
    frames independently until the average, so it takes images as clips of one frame.

    Args:
        name: A key of `ARCHITECTURES`.
        overrides: Options that the 3D network is built with.

    Returns:
        Overrides for `create_model(name, ...)`; all are valid JSON.

    Raises:
        ConfigError: When the name or an override is unknown, or an override makes no sense.
    """
    spec = override(architecture(name).spec, overrides)
    return {**overrides, **spec.twin()}


def inflate(model: Network, flat: Mapping[str, Tensor], *, how: Literal["centre", "repeat"]) -> Inflation:
    """Copy 2D weights into a 3D network, in place, from the stem on as long as they fit.

    The parts of the network are taken in order: stem, blocks and transitions, norm, head, neck, classifier. A part is
    copied completely or not at all, and none after one that did not fit: after a random layer it would be useless.

    Args:
        model: The network to fill.
        flat: Tensors by the names of the network; kernels are (O, I, 1, H, W), or of the size the network has.
        how: How a 2D kernel becomes 3D. `centre`: the plane at the output's own frame, zeros elsewhere. `repeat`:
            every plane, divided by their number. For a still video, the output equals the twin's; with `repeat` only
            in a DenseNet built with `replicate_time`, because zero padding in time changes it.

    Raises:
        CheckpointError: When not even the stem fits.
        ConfigError: When `how` is neither.

    Source: repeat is Carreira and Zisserman 2017, arXiv:1705.07750, section 2.4.1; centre is Feichtenhofer et al. 2017,
    arXiv:1611.02155. Neither covers this network.
    """
    if how not in ("centre", "repeat"):
        raise ConfigError(f"how {how!r} must be centre or repeat")
    given = {**_zero_counters(model), **flat}
    whole: list[str] = []
    for part in _parts(model):
        misfit = _misfit(part, model, given)
        if misfit and part == "stem":
            raise CheckpointError(f"{misfit}; take the weights of the 2D twin of this network, with the same options")
        if misfit:
            break
        whole.append(part)
    own = model.state_dict()
    copied = tuple(name for name in own if name.startswith(tuple(f"{part}." for part in whole)))
    with torch.no_grad():
        for name in copied:
            own[name].copy_(_grown(given[name], own[name].shape, how))
    return Inflation(copied=copied, fresh=tuple(name for name in own if name not in copied))


def _parts(model: Network) -> list[str]:
    stages = (f"stages.{name}" for name, _ in model.stages.named_children())
    return ["stem", *stages, "norm", "head", "neck", "classifier"]


def _zero_counters(model: Network) -> dict[str, Tensor]:
    """Batch counters of norms, which older files (such as torchvision's) do not contain."""
    own = model.state_dict()
    return {name: torch.zeros_like(own[name]) for name in own if name.endswith(".num_batches_tracked")}


def _misfit(part: str, model: Network, given: Mapping[str, Tensor]) -> str:
    """Why a part cannot be copied completely; empty if it can."""
    own = {name: tensor for name, tensor in model.state_dict().items() if name.startswith(f"{part}.")}
    for name, tensor in own.items():
        if name not in given:
            return f"{name!r} is not among the 2D weights"
        if not _fits(tuple(given[name].shape), tuple(tensor.shape)):
            return f"{name!r} is {times(given[name].shape)} in the 2D weights, but {times(tensor.shape)} in the network"
    left_over = [name for name in given if name.startswith(f"{part}.") and name not in own]
    return f"{left_over[0]!r} of the 2D weights is not in the network" if left_over else ""


def _fits(given: tuple[int, ...], own: tuple[int, ...]) -> bool:
    return given == own or (len(given) == len(own) == 5 and given == (*own[:2], 1, *own[3:]))


def _grown(given: Tensor, size: torch.Size, how: str) -> Tensor:
    if given.shape == size:
        return given
    depth = size[2]
    if how == "repeat":
        return given.expand(size) / depth
    kernel = given.new_zeros(size)
    kernel[:, :, (depth - 1) // 2] = given[:, :, 0]  # as NormReluConv pads; a stem's depth is odd
    return kernel
