"""Exported networks as OpenVINO graphs (.xml, weights in .bin): float32, bf16, int8 by NNCF."""

import hashlib
import logging
import sys
import warnings
from contextlib import redirect_stdout
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING

from t3d.errors import ConfigError
from t3d.inference.backends.base import KEY, Backend, Scorer, not_installed

if TYPE_CHECKING:
    from openvino import Model
    from torch import nn

    from t3d.models.checkpoints import ModelCard
    from t3d.tensors import Logits, Views

_HINTS = {"float32": "f32", "bf16": "bf16", "int8": "f32"}
"""Arithmetic of operations that are not quantised; set explicitly, because OpenVINO may default to bf16."""

_DIGEST = "sha256 of the weights"


def load_openvino() -> ModuleType:
    """Import OpenVINO with its telemetry switched off.

    Raises:
        ConfigError: It is not installed.
    """
    sys.modules.setdefault("openvino_telemetry", None)  # type: ignore[arg-type]  # as if it were not installed
    try:
        import openvino
    except ImportError as error:
        raise not_installed("openvino", "openvino") from error
    return openvino


def translate(network: "nn.Module", card: "ModelCard", calibration: "Views | None" = None) -> "Model":
    """Translate a network with a dynamic batch size; in int8 if calibration clips are given.

    Raises:
        ConfigError: OpenVINO or NNCF is not installed.
    """
    from t3d.inference.graph import INPUT, capture

    program = capture(network, card, smooth_kernels=calibration is not None)
    openvino = load_openvino()
    shape = next(node.meta["val"].shape for node in program.graph.nodes if node.name == INPUT)
    with warnings.catch_warnings():  # inside PyTorch
        warnings.filterwarnings("ignore", message=r".*LeafSpec", category=FutureWarning)
        model: Model = openvino.convert_model(program)
    model.reshape([-1, *map(int, shape[1:])])
    return model if calibration is None else quantise(model, calibration)


def quantise(model: "Model", clips: "Views") -> "Model":
    """Quantise to int8; ranges of activations are the minimum and maximum over the clips.

    Args:
        model: Not modified.
        clips: Typical input, never test videos.

    Raises:
        ConfigError: NNCF is not installed.
    """
    load_openvino()
    try:
        import nncf
    except ImportError as error:
        raise not_installed("nncf", "openvino") from error
    from nncf.quantization.range_estimator import RangeEstimatorParametersSet

    nncf.set_log_level(logging.ERROR)
    with redirect_stdout(sys.stderr):  # progress goes to stderr
        quantised: Model = nncf.quantize(
            model,
            nncf.Dataset([clip[None].numpy() for clip in clips]),
            preset=nncf.QuantizationPreset.MIXED,
            subset_size=len(clips),
            advanced_parameters=nncf.AdvancedQuantizationParameters(
                activations_range_estimator_params=RangeEstimatorParametersSet.MINMAX
            ),
        )
    return quantised


def save(model: "Model", path: Path, text: str) -> None:
    """Write the weights, then the graph with their hash, so that other weights are detected."""
    openvino, weights = load_openvino(), path.with_suffix(".bin")
    openvino.serialize(model, path, weights)
    model.set_rt_info(text, [KEY, "description"])
    model.set_rt_info(_digest(weights), [KEY, _DIGEST])
    openvino.serialize(model, path, weights)


def read(path: Path) -> "tuple[Model, str | None]":
    """Read a graph with its weights.

    Raises:
        ValueError: The weights do not belong to the graph.
    """
    model = load_openvino().Core().read_model(path)
    if not model.has_rt_info([KEY, "description"]):
        return model, None
    if model.get_rt_info([KEY, _DIGEST]).value != _digest(path.with_suffix(".bin")):
        raise ValueError(f"{path.with_suffix('.bin').name} beside it is damaged, or of another export")
    return model, str(model.get_rt_info([KEY, "description"]).value)


def start(model: "Model", precision: str) -> Scorer:
    """Make a scorer of a graph.

    Raises:
        ConfigError: The processor does not support the precision; OpenVINO would silently use another.
    """
    import torch

    settings = {"INFERENCE_PRECISION_HINT": _HINTS[precision], "INFERENCE_NUM_THREADS": torch.get_num_threads()}
    compiled = load_openvino().Core().compile_model(model, "CPU", {"PERFORMANCE_HINT": "LATENCY", **settings})
    taken = compiled.get_property("INFERENCE_PRECISION_HINT").to_string()
    if taken != _HINTS[precision]:
        raise ConfigError(f"OpenVINO computes in {taken} on this processor, not in {precision}; use float32 or int8")

    def score(clips: "Views") -> "Logits":
        return torch.from_numpy(compiled([clips.numpy()])[0].copy())

    return score


OPENVINO = Backend(
    name="openvino",
    target="openvino",
    summary="the fastest on CPUs: bf16 where the processor has units for it, int8 on all",
    suffixes=(".xml", ".bin"),
    precisions=("float32", "bf16", "int8"),
    packages={"float32": ("openvino",), "bf16": ("openvino",), "int8": ("openvino", "nncf")},
    extra="openvino",
    translate=translate,
    save=save,
    read=read,
    start=start,
)


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
