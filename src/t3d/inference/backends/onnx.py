"""Exported networks as ONNX graphs, computed by ONNX Runtime in float32."""

import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from t3d.inference.backends.base import KEY, Backend, Scorer, not_installed

if TYPE_CHECKING:
    from onnx import ModelProto
    from torch import nn

    from t3d.models.checkpoints import ModelCard
    from t3d.tensors import Logits, Views


def translate(network: "nn.Module", card: "ModelCard", calibration: "Views | None" = None) -> "ModelProto":
    """Translate a network into an ONNX graph.

    Raises:
        ConfigError: A required package is not installed.
    """
    import torch

    from t3d.inference.graph import capture

    assert calibration is None, "float32 only"
    try:
        import onnx  # noqa: F401
        import onnxscript  # noqa: F401
    except ImportError as error:
        raise not_installed(error.name or "onnx", "onnx") from error
    with _quietly():
        translated = torch.onnx.export(capture(network, card), dynamo=True, verbose=False)
    assert translated is not None
    proto: ModelProto = translated.model_proto
    return proto


def save(proto: "ModelProto", path: Path, text: str) -> None:
    """Write a graph with its description in the metadata."""
    import onnx

    onnx.helper.set_model_props(proto, {KEY: text})
    onnx.save(proto, path)


def read(path: Path) -> "tuple[ModelProto, str | None]":
    """Read a graph and its description.

    Raises:
        ConfigError: `onnx` is not installed.
    """
    try:
        import onnx
    except ImportError as error:
        raise not_installed("onnx", "onnx") from error
    proto = onnx.load(path)
    return proto, {entry.key: entry.value for entry in proto.metadata_props}.get(KEY)


def start(proto: "ModelProto", precision: str) -> Scorer:
    """Make a scorer of a graph.

    Raises:
        ConfigError: ONNX Runtime is not installed.
    """
    import torch

    from t3d.inference.graph import INPUT

    assert precision == "float32"
    try:
        import onnxruntime
    except ImportError as error:
        raise not_installed("onnxruntime", "onnx") from error
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    session = onnxruntime.InferenceSession(proto.SerializeToString(), options, providers=["CPUExecutionProvider"])

    def score(clips: "Views") -> "Logits":
        return torch.from_numpy(session.run(None, {INPUT: clips.numpy()})[0])

    return score


ONNX = Backend(
    name="onnxruntime",
    target="onnx",
    summary="one file that programs in many languages read",
    suffixes=(".onnx",),
    precisions=("float32",),
    packages={"float32": ("onnx", "onnxscript", "onnxruntime")},
    extra="onnx",
    translate=translate,
    save=save,
    read=read,
    start=start,
)


@contextmanager
def _quietly() -> Iterator[None]:
    """Suppress messages of the exporter about optional packages, and a warning inside PyTorch."""
    registry = logging.getLogger("torch.onnx._internal.exporter._registration")
    level = registry.level
    registry.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message=r".*LeafSpec", category=FutureWarning)
            yield
    finally:
        registry.setLevel(level)
