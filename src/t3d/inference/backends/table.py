"""The table of engines, and reading an exported file with the one that it is for."""

from pathlib import Path
from typing import Any

from t3d.errors import CheckpointError, T3DError
from t3d.inference.backends import onnx as onnx_graph
from t3d.inference.backends import openvino as openvino_graph
from t3d.inference.backends import torch as torch_program
from t3d.inference.backends.base import Engine, Export, from_text
from t3d.models.checkpoints import ModelCard

ENGINES = {
    engine.name: engine
    for engine in (
        Engine(
            name="openvino",
            suffixes=(".xml", ".bin"),
            precisions=("float32", "bf16", "int8"),
            packages=("openvino",),
            extra="openvino",
            convert=openvino_graph.convert,
            save=openvino_graph.save,
            read=openvino_graph.read,
            start=openvino_graph.start,
        ),
        Engine(
            name="onnxruntime",
            suffixes=(".onnx",),
            precisions=("float32",),
            packages=("onnx", "onnxscript", "onnxruntime"),
            extra="onnx",
            convert=onnx_graph.convert,
            save=onnx_graph.save,
            read=onnx_graph.read,
            start=onnx_graph.start,
        ),
        Engine(
            name="torch",
            suffixes=(".pt2",),
            precisions=("float32",),
            packages=(),
            convert=torch_program.convert,
            save=torch_program.save,
            read=torch_program.read,
            start=torch_program.start,
        ),
    )
}


def engine_of(path: Path) -> Engine | None:
    """The engine that an exported file is for; None where the file is none, such as a run folder."""
    return next((engine for engine in ENGINES.values() if path.suffix.lower() == engine.suffixes[0]), None)


def read_export(path: Path, engine: Engine) -> tuple[Any, ModelCard, Export]:
    """Read an exported file: the engine's model, and what it says of itself.

    Raises:
        CheckpointError: The file is missing, damaged, or was not written by t3d.
        ConfigError: The engine is not installed.
    """
    if not path.exists():
        raise CheckpointError(f"{path}: no such file; t3d export writes one, or give a run folder")
    if not path.stat().st_size:  # a whole ONNX graph of nothing
        raise CheckpointError(f"{path}: is empty; export the weights again, or copy all of it")
    try:
        model, text = engine.read(path)
    except T3DError:
        raise
    except Exception as error:  # each library has several types of its own
        reason = _loss(path, engine) or " ".join(str(error).split())[:200]
        raise CheckpointError(
            f"{path}: cannot be read ({reason}); export the weights again, or copy all of it"
        ) from error
    return model, *from_text(text, file=path)


def _loss(path: Path, engine: Engine) -> str:
    """What of a file is not there, in plainer words than a library has for it."""
    missing = (half.name for half in map(path.with_suffix, engine.suffixes[1:]) if not half.exists())
    return next((f"{name}, its other half, is missing" for name in missing), "")
