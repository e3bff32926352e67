"""Read tensors from published files without running code in them, and load them into a network."""

import warnings
from collections.abc import Mapping
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from t3d.errors import CheckpointError, ConfigError


def read_tensors(path: Path) -> dict[str, Tensor]:
    """Read a .safetensors file, or a PyTorch file that contains only tensors.

    A top-level key `state_dict` and a common prefix `module.` are removed.

    Raises:
        CheckpointError: The file is missing or damaged, or contains more than tensors.
    """
    if path.is_dir():
        raise CheckpointError(f"{path}: is a folder; name the weights file in it")
    if not path.is_file():
        raise CheckpointError(f"{path}: no such weights file")
    try:
        if path.suffix == ".safetensors":
            return _plain(load_file(path), str(path))
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # warns about pickles it may not support; it raises if it does not
            return _plain(torch.load(path, map_location="cpu", weights_only=True), str(path))
    except CheckpointError:
        raise
    except SafetensorError as error:
        raise CheckpointError(f"{path}: not a complete safetensors file ({_one_line(error)}); copy it anew") from error
    except Exception as error:  # torch.load raises half a dozen unrelated types on files it refuses
        raise CheckpointError(f"{path}: {_why_refused(path)}") from error


def download_tensors(url: str) -> dict[str, Tensor]:
    """Download a PyTorch file once, into PyTorch's own cache, and check it against the hash in its name.

    Raises:
        ConfigError: It cannot be downloaded.
    """
    try:
        tensors = torch.hub.load_state_dict_from_url(url, map_location="cpu", check_hash=True, weights_only=True)
    except (OSError, RuntimeError) as error:
        raise ConfigError(
            f"{url} cannot be downloaded ({_one_line(error)}); download it elsewhere and give --teacher-weights FILE"
        ) from error
    return _plain(tensors, url)


def load_tensors(network: nn.Module, tensors: Mapping[str, Tensor], origin: str) -> None:
    """Copy all tensors into a network that has exactly these; only batch counters of norms may be missing.

    Args:
        network: Changed in place.
        tensors: By the network's names.
        origin: Their file, for error messages.

    Raises:
        CheckpointError: A tensor is missing, unexpected, or of another shape; the message names the first.
    """
    own = network.state_dict()
    misfits = [
        name
        for name, tensor in own.items()
        if (name not in tensors and not name.endswith("num_batches_tracked"))
        or (name in tensors and tensors[name].shape != tensor.shape)
    ]
    misfits += [name for name in tensors if name not in own]
    if misfits:
        raise CheckpointError(
            f"{origin}: {misfits[0]!r} and {len(misfits) - 1} other tensors do not fit; give this network's weights"
        )
    network.load_state_dict({**own, **tensors})


def _plain(content: object, origin: str) -> dict[str, Tensor]:
    if isinstance(content, Mapping) and isinstance(content.get("state_dict"), Mapping):
        content = content["state_dict"]
    if not isinstance(content, Mapping) or not content:
        raise CheckpointError(f"{origin}: holds no tensors by name; save the bare state_dict instead")
    strangers = [name for name, value in content.items() if not isinstance(value, Tensor)]
    if strangers:
        raise CheckpointError(f"{origin}: {strangers[0]!r} is no tensor; save the bare state_dict instead")
    prefixed = all(str(name).startswith("module.") for name in content)
    return {str(name).removeprefix("module.") if prefixed else str(name): tensor for name, tensor in content.items()}


def _why_refused(path: Path) -> str:
    with path.open("rb") as file:
        beginning = file.read(20)
    if beginning and not beginning.startswith((b"PK", b"\x80")):  # a zip archive, a pickle
        return f"no file of PyTorch's, it begins with {beginning!r}; download the file itself, not a page about it"
    return "damaged, or a pickle with code in it, which is not run; save the bare state_dict instead"


def _one_line(error: BaseException) -> str:
    return " ".join(str(error).split())[:200]
