"""Convert a published weights file to a t3d weights file with network options and preprocessing."""

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from t3d.commands._console import warn
from t3d.config import ConvertConfig
from t3d.data.labels import read_label_file, sorted_labels
from t3d.errors import CheckpointError, ConfigError, DataError
from t3d.files import make_folder
from t3d.models import LAYOUTS, create_model, read_published
from t3d.models.checkpoints import ModelCard, save_weights
from t3d.models.pretrained.files import load_tensors, read_tensors
from t3d.models.pretrained.reading import Published


@dataclass(frozen=True, kw_only=True)
class Converted:
    """The written file and its model card."""

    output: Path
    card: ModelCard


def run(config: ConvertConfig, *, command: str) -> Converted:
    """Read, recognise, rename, check by loading, write."""
    output = config.output or config.file.with_suffix(".safetensors")
    if output.exists():
        raise ConfigError(f"{output}: exists; name another --output")
    tensors = read_tensors(config.file)
    try:
        found = read_published(tensors, layout=config.layout, arch=config.arch, bgr=config.bgr)
    except CheckpointError as error:
        raise CheckpointError(f"{config.file}: {error}") from None
    labels, order = _labels(config, found.num_classes)
    card = ModelCard(
        arch=found.arch,
        overrides=found.overrides,
        labels=labels,
        clip=found.clip,
        pixels=found.pixels,
        training=_facts(config, found, command),
    )
    model = create_model(found.arch, found.num_classes, **found.overrides)
    _check_finite(config, found)
    classifier = {name: tensor[order] for name, tensor in found.tensors.items() if name.startswith("classifier.")}
    load_tensors(model, {**found.tensors, **classifier}, str(config.file))
    make_folder(output.parent)
    save_weights(output, model.state_dict(), card)
    return Converted(output=output, card=card)


def _labels(config: ConvertConfig, num_classes: int) -> tuple[tuple[str, ...], list[int]]:
    """Class names in the order of datasets, and the published index of each."""
    if config.labels is None:
        if num_classes:
            warn(f"{config.file}: holds no names of its {num_classes} classes; --labels FILE gives them")
        return tuple(f"class {number}" for number in range(num_classes)), list(range(num_classes))
    published = read_label_file(config.labels)
    if len(published) != num_classes:
        raise DataError(f"{config.labels}: names {len(published)} classes, but {config.file} has {num_classes}")
    labels = sorted_labels(published)
    return labels, [published.index(label) for label in labels]


def _check_finite(config: ConvertConfig, found: Published) -> None:
    for name, tensor in found.tensors.items():
        if not tensor.isfinite().all():
            raise CheckpointError(f"{config.file}: {name} (our name) holds values that are no numbers; copy it anew")


def _facts(config: ConvertConfig, found: Published, command: str) -> dict[str, Any]:
    """Source of the weights, and warnings for results made with them."""
    with config.file.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    origin = f"{config.file.name}, {LAYOUTS[found.layout].source}"
    caveats = [f"published weights ({origin}): what they were trained on is not known here"]
    if found.inexact:
        caveats.append(f"preprocessing: {found.inexact}")
        warn(caveats[-1])
    source = {"layout": found.layout, "file": config.file.name, "sha256": digest, "bgr": found.bgr}
    return {"converted_from": source, "caveats": caveats, "command": command}


def show(converted: Converted, config: ConvertConfig) -> int:
    """Print a summary of the new file."""
    card = converted.card
    classes = f"{len(card.labels)} classes" if card.labels else "no classifier: a start for t3d train --init"
    print(f"{converted.output}: {card.arch}, {classes}; read as {card.training['converted_from']['layout']}")
    return 0
