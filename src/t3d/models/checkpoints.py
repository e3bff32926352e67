"""Weights files: safetensors with a header that describes the network, its preprocessing and its classes.

A file is self-contained: `t3d.load("weights.safetensors")` needs nothing else. The state to resume a training
(optimizer, schedule, progress) is in the run's `trainer/` folder.
"""

import hashlib
import json
import re
import shlex
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from t3d.errors import CheckpointError, ConfigError
from t3d.files import complete
from t3d.models import create_model
from t3d.run_files import card_text, weights_file
from t3d.video.spec import ClipSpec, PixelSpec, SegmentSpec

SCHEMA_VERSION = 1


@dataclass(frozen=True, kw_only=True)
class ModelCard:
    """Description of a network: architecture, preprocessing, classes and training."""

    arch: str
    overrides: Mapping[str, Any]
    labels: tuple[str, ...]
    clip: ClipSpec
    pixels: PixelSpec
    segments: SegmentSpec = field(default_factory=SegmentSpec)
    """Temporal segments and their consensus, in training and testing."""
    training: Mapping[str, Any] = field(default_factory=dict)
    """Dataset, split, seed, selection, command and ancestors, as JSON values."""

    def to_json(self) -> str:
        """The card as one JSON object."""
        values = {"schema_version": SCHEMA_VERSION, **asdict(self)}
        # Newer fields are written only if they matter: older versions of t3d then read all other files, and refuse
        # those they would score wrongly.
        if not self.segments.enabled:
            del values["segments"]
        if self.pixels.modality != "flow":
            del values["pixels"]["flow_method"], values["pixels"]["flow_bound"]
        return json.dumps(values, indent=2)

    @classmethod
    def from_json(cls, text: str) -> "ModelCard":
        """Parse a card; raises AttributeError, KeyError, TypeError or ValueError if the text is not one."""
        values = json.loads(text)
        version = values.pop("schema_version")
        if version > SCHEMA_VERSION:
            raise ValueError(f"schema version {version} is newer than this t3d ({SCHEMA_VERSION})")
        values["clip"] = ClipSpec(**values["clip"])
        values["segments"] = SegmentSpec(**values.get("segments", {}))
        pixels = values["pixels"]
        values["pixels"] = PixelSpec(**{**pixels, "mean": tuple(pixels["mean"]), "std": tuple(pixels["std"])})
        return cls(**{**values, "labels": tuple(values["labels"])})

    def build(self) -> nn.Module:
        """Build the network with random weights."""
        return create_model(self.arch, num_classes=len(self.labels), **self.overrides)


def save_weights(path: Path, model_state: Mapping[str, Tensor], card: ModelCard) -> None:
    """Write weights and card; the file appears under its name only when complete.

    Raises:
        CheckpointError: It cannot be written.
    """
    tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in model_state.items()}
    with complete(path) as unfinished:
        try:
            save_file(tensors, str(unfinished), metadata={"t3d": card.to_json()})
        except SafetensorError as error:
            raise CheckpointError(f"{path}: cannot be written ({one_line(error)}); is the disk full?") from error


def read_weights(path: Path) -> tuple[dict[str, Tensor], ModelCard]:
    """Read a weights file, or the weights of a run folder.

    Raises:
        CheckpointError: The file is missing, damaged, or was not written by t3d.
    """
    path = weights_file(path)
    text = card_text(path)
    with safe_open(str(path), framework="pt") as file:
        tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118  (not a dict)
    try:
        return tensors, ModelCard.from_json(text)
    except (AttributeError, KeyError, TypeError, ValueError, ConfigError) as error:
        raise CheckpointError(
            f"{path}: its description cannot be read ({one_line(error)}); update t3d or train again"
        ) from error


def load_model(path: Path) -> tuple[nn.Module, ModelCard]:
    """Rebuild a network in evaluation mode with its weights.

    Raises:
        CheckpointError: The file cannot be read, holds a network without classes, or the weights do not fit the network
            it describes.
    """
    tensors, card = read_weights(path)
    if not card.labels:
        raise CheckpointError(
            f"{path}: holds a network that names no classes yet; t3d train DATA --init {path} teaches it some"
        )
    try:
        model = card.build()
        model.load_state_dict(tensors, strict=True)
    except (RuntimeError, ConfigError) as error:
        raise CheckpointError(f"{path}: weights do not fit {card.arch} ({one_line(error)})") from error
    return model.eval(), card


def initialise_from(model: nn.Module, path: Path, labels: tuple[str, ...]) -> tuple[ModelCard, list[str]]:
    """Copy weights into a network; its head stays random if the classes differ (Kinetics -> UCF101).

    So do temporal transitions for which the other network has no weights, because it downsamples with a stride or a
    pool instead (ResNet3D, Inception3D, C3D).

    Returns:
        The card of the weights, for the lineage, and the names of the transitions' tensors that stay random.

    Raises:
        CheckpointError: A weight of another kind is missing, left over, or of another shape.
    """
    tensors, card = read_weights(path)
    if card.labels != labels:
        tensors = {name: tensor for name, tensor in tensors.items() if not name.startswith("classifier.")}
    own = model.state_dict()
    misfits = [name for name, tensor in tensors.items() if name not in own or own[name].shape != tensor.shape]
    fresh = _transitions_without_counterpart(own, tensors)
    may_lack = {*fresh, *(name for name in own if name.startswith(("classifier.", "neck.")))}
    misfits += [name for name in own if name not in tensors and name not in may_lack]
    if misfits:
        raise CheckpointError(
            f"{path}: holds {card.arch}, whose {misfits[0]!r} and {len(misfits) - 1} other tensors do not fit; "
            f"use --arch {card.arch} --modality {card.pixels.modality} with the same options{_as_flags(card.overrides)}"
        )
    model.load_state_dict(tensors, strict=False)
    return card, fresh


def _transitions_without_counterpart(own: Iterable[str], given: Iterable[str]) -> list[str]:
    there = {_stage(name) for name in given}
    return [name for name in own if re.match(r"stages\.transition\d+\.branches\.", name) and _stage(name) not in there]


def _stage(name: str) -> str:
    return ".".join(name.split(".")[:2])


def _as_flags(overrides: Mapping[str, Any]) -> str:
    if not overrides:
        return " (it has none)"
    if overrides.get("ttl_flat") or overrides.get("flat"):
        return "; it is a 2D twin: give --inflate centre to make a 3D network of it, or --twin to stay with it"
    literals = (f"{name}={json.dumps(value, separators=(',', ':'))}" for name, value in overrides.items())
    return f" (--overrides {shlex.join(literals)})"


def file_hash(path: Path) -> str:
    """First 16 hexadecimal digits of the file's SHA-256; identifies the checkpoint in results."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()[:16]


def save_state(path: Path, state: Mapping[str, Any]) -> None:
    """Write the trainer state for `--resume`; readable with `weights_only=True`.

    Raises:
        CheckpointError: It cannot be written.
    """
    with complete(path) as unfinished:
        try:
            torch.save(dict(state), unfinished)
        except RuntimeError as error:
            raise CheckpointError(f"{path}: cannot be written ({one_line(error)}); is the disk full?") from error


def read_state(path: Path) -> dict[str, Any]:
    """Read what `save_state` wrote.

    Raises:
        CheckpointError: The file is missing or damaged.
    """
    try:
        state: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
    except FileNotFoundError:
        raise CheckpointError(f"{path}: nothing to resume; run without --resume") from None
    except Exception as error:  # torch.load raises half a dozen unrelated types on damaged files
        raise CheckpointError(f"{path}: damaged ({one_line(error)}); start again with --overwrite") from error
    return state


def one_line(error: BaseException) -> str:
    """An exception as one line, for error messages."""
    words = " ".join(str(error).split())[:200]
    return f"it lacks {words}" if isinstance(error, KeyError) else words
