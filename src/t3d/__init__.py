"""Temporal 3D ConvNets for video classification: networks, training, evaluation.

Importing this package does not import PyTorch; the names below are imported when first used.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from t3d.inference.classifier import Classifier, Prediction, load, predict
    from t3d.models import accelerate, create_model, prepare_for_inference

__version__ = "0.1.0"
__all__ = [
    "Classifier",
    "Prediction",
    "__version__",
    "accelerate",
    "create_model",
    "load",
    "predict",
    "prepare_for_inference",
]

_HOMES = {
    "Classifier": "t3d.inference.classifier",
    "Prediction": "t3d.inference.classifier",
    "accelerate": "t3d.models",
    "create_model": "t3d.models",
    "load": "t3d.inference.classifier",
    "predict": "t3d.inference.classifier",
    "prepare_for_inference": "t3d.models",
}


def __getattr__(name: str) -> Any:  # noqa: ANN401  (any public name)
    if name not in _HOMES:
        raise AttributeError(f"module 't3d' has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return sorted(__all__)
