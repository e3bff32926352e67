"""Initial weights of a training: a run, or 2D weights to inflate; and their lineage."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from safetensors import SafetensorError, safe_open
from torch import Tensor

from t3d.errors import CheckpointError
from t3d.models import ARCHITECTURES, LAYOUTS, Network, from_published
from t3d.models.checkpoints import ModelCard, file_hash, initialise_from, read_weights, weights_file
from t3d.models.pretrained.files import read_tensors
from t3d.models.pretrained.inflation import Inflation, inflate

Inflate = Literal["centre", "repeat"]


@dataclass(frozen=True, kw_only=True)
class Start:
    """The initial weights of a network."""

    parent: ModelCard | None
    """Card of the initial weights; None for a published file."""
    lineage: list[dict[str, Any]]
    """File, hash, network and command of every ancestor, oldest first, as JSON values."""
    notes: list[str]
    """Messages for the user: which weights were loaded, and which stay random."""


def initialise(
    model: Network, init: Path, labels: tuple[str, ...], *, inflate: Inflate | None, filled: Sequence[str] = ()
) -> Start:
    """Load the weights of a run into a network, or inflate 2D weights.

    Args:
        model: The network; its head stays random if the classes differ.
        init: Run folder or weights file.
        labels: Its classes.
        inflate: How to inflate 2D kernels; None for weights of the same network.
        filled: Prefixes of the names of weights that are already loaded and thus not reported as random.

    Raises:
        CheckpointError: The weights cannot be read or do not fit.
    """
    if inflate is None:
        parent, fresh = initialise_from(model, init, labels)
        notes = (
            [f"{init}: all of {parent.arch} fits, {len(fresh)} tensors stay random", _random(fresh)] if fresh else []
        )
        return Start(parent=parent, lineage=_lineage(init, parent, inflate), notes=notes)
    inflation, card = inflate_from(model, init, labels, how=inflate)
    fresh = [name for name in inflation.fresh if not name.startswith(tuple(filled))]
    notes = [f"{init}: {len(inflation.copied)} tensors inflated ({inflate}), {len(fresh)} stay random"]
    return Start(parent=card, lineage=_lineage(init, card, inflate), notes=[*notes, _random(fresh)] if fresh else notes)


def inflate_from(
    model: Network, path: Path, labels: tuple[str, ...], *, how: Inflate
) -> tuple[Inflation, ModelCard | None]:
    """Inflate 2D weights into a 3D network: a run of its twin, or a published file of its family.

    The head is copied only from a run with the same labels.

    Returns:
        The copied tensors, and the card of the run; None for a published file.

    Raises:
        CheckpointError: The weights cannot be read, are not 2D, or not even the stem fits.
    """
    tensors, card = _flat_weights(model, path)
    if card is None or card.labels != labels:
        tensors = {name: tensor for name, tensor in tensors.items() if not name.startswith("classifier.")}
    if _has_depth(tensors):
        raise CheckpointError(f"{path}: holds a 3D network already; leave out --inflate")
    if not _has_depth(model.state_dict()):
        raise CheckpointError(f"{path}: inflated into a 2D network it would stay as it is; leave out --inflate")
    try:
        return inflate(model, tensors, how=how), card
    except CheckpointError as error:
        raise CheckpointError(f"{path}: {error}") from None


def _random(tensors: Iterable[str]) -> str:
    """Names of the layers that stay random; of those in stages, the stages."""
    names = sorted({name.rpartition(".")[0] for name in tensors})
    stages = dict.fromkeys(".".join(name.split(".")[:2]) if name.startswith("stages.") else name for name in names)
    return f"random: {', '.join(stages)}"


def _lineage(init: Path, parent: ModelCard | None, inflated: Inflate | None) -> list[dict[str, Any]]:
    """Lineage of the weights, themselves included."""
    file = weights_file(init)
    own = {
        "file": str(file),
        "sha256": file_hash(file),
        "arch": "2D network (published)" if parent is None else parent.arch,
        "command": None if parent is None else parent.training.get("command"),
        "inflated": inflated,
    }
    return [*([] if parent is None else parent.training.get("lineage", [])), own]


def _has_depth(tensors: Mapping[str, Tensor]) -> bool:
    return any(tensor.ndim == 5 and tensor.shape[2] > 1 for tensor in tensors.values())


def _flat_weights(model: Network, path: Path) -> tuple[dict[str, Tensor], ModelCard | None]:
    if path.is_dir() or _has_card(path):
        return read_weights(path)
    tensors = read_tensors(path)
    try:
        return from_published(tensors, layout=_flat_layout(model)), None
    except CheckpointError as error:
        raise CheckpointError(f"{path}: {error}") from None


def _flat_layout(model: Network) -> str:
    """Layout of published 2D networks of the same family."""
    for name, layout in LAYOUTS.items():
        if layout.flat and type(ARCHITECTURES[layout.archs[0]].spec) is type(model.spec):
            return name
    raise CheckpointError("no published 2D weights are known for this network; give a run of its 2D twin (--twin)")


def _has_card(path: Path) -> bool:
    if path.suffix != ".safetensors":
        return False
    try:
        with safe_open(str(path), framework="pt") as file:
            return "t3d" in (file.metadata() or {})
    except (SafetensorError, OSError):
        return True  # `read_weights` raises a better error
