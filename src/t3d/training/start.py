"""What a training may start from besides its own kind: 2D weights to inflate, and the layer a transfer added."""

from collections.abc import Mapping
from pathlib import Path
from typing import Literal

from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from t3d.errors import CheckpointError
from t3d.files import complete
from t3d.models import ARCHITECTURES, LAYOUTS, Network, from_published
from t3d.models.checkpoints import ModelCard, read_weights
from t3d.models.inflation import Inflation, inflate
from t3d.models.weights_files import load_tensors, read_tensors
from t3d.run_files import MATCHER_NAME
from t3d.transfer.matcher import Matcher


def inflate_from(
    model: Network, path: Path, labels: tuple[str, ...], *, how: Literal["centre", "repeat"]
) -> tuple[Inflation, ModelCard | None]:
    """Fill a 3D network from 2D weights: a run of its twin, or a published file of its family.

    The head is copied only from a run with the same labels.

    Returns:
        What was copied, and the card of the run; None for a published file.

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


def save_matcher(path: Path, matcher: Matcher) -> None:
    """Write what compared a student with its teacher."""
    with complete(path) as unfinished:
        save_file({name: tensor.contiguous() for name, tensor in matcher.state_dict().items()}, str(unfinished))


def keep_fc(model: Network, path: Path) -> None:
    """Fill the neck of a network with the layer that a transfer put on its student.

    Raises:
        CheckpointError: `path` is no run of a transfer.
    """
    file = path / MATCHER_NAME
    if not file.exists():
        raise CheckpointError(f"{path}: no {MATCHER_NAME} in this folder; --keep-fc needs the run folder of a transfer")
    tensors = read_tensors(file)
    layer = {name: tensor for name, tensor in tensors.items() if name.startswith("student.")}
    load_tensors(model.neck, {name.removeprefix("student."): tensor for name, tensor in layer.items()}, str(file))


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
    """The layout of published 2D networks of the same family."""
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
        return True  # whoever reads it will say what is wrong
