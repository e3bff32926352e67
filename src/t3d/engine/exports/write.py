"""Write a network for another engine, if what is read back computes what PyTorch does."""

from contextlib import ExitStack
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from torch import nn

from t3d.engine.checkpoints import ModelCard
from t3d.engine.exports.description import Export, to_text
from t3d.engine.exports.engine import Engine
from t3d.engine.exports.engines import read_export
from t3d.engine.exports.parity import Check
from t3d.engine.exports.program import capture
from t3d.engine.exports.quantise import quantise
from t3d.errors import CheckpointError
from t3d.files import complete
from t3d.tensors import Views


def translate(network: nn.Module, card: ModelCard, *, engine: Engine, calibration: Views | None = None) -> Any:  # noqa: ANN401
    """Make an engine's model of a network; in int8 where there are clips to fit it to (OpenVINO only)."""
    model = engine.convert(capture(network, card, smooth_kernels=calibration is not None))
    return model if calibration is None else quantise(model, calibration)


def write_export(
    path: Path,
    model: Any,  # noqa: ANN401  (the engine's own)
    *,
    card: ModelCard,
    engine: Engine,
    export: Export,
    check: Check,
) -> Export:
    """Write a model, read it again, compare, and give it its name; nothing is left behind where it fails.

    Args:
        path: Must end in the first suffix of the engine.
        model: What `translate` made.
        card: Travels inside.
        engine: Reads, computes and writes it.
        export: Likewise inside, with what is measured here.
        check: What the file is held to.

    Raises:
        CheckpointError: What was written does not compute what it should.
    """
    with ExitStack() as files:
        unfinished, *_ = [files.enter_context(complete(path.with_suffix(suffix))) for suffix in engine.suffixes]
        engine.save(model, unfinished, to_text(card, export))
        try:
            measured = check(engine.start(read_export(unfinished, engine)[0], export.precision))
            export = replace(export, **asdict(measured))
            engine.save(model, unfinished, to_text(card, export))
            read_export(unfinished, engine)  # what was compared is another file
        except CheckpointError as error:
            raise CheckpointError(f"{path}: not written: {error}") from error
    return export
