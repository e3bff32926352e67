"""The networks: built by name or from their parts. How they learn is not known here."""

from t3d.models.densenet3d import DenseNet3D
from t3d.models.densenet_spec import DenseNetSpec
from t3d.models.describe import ModelSummary, describe_models
from t3d.models.published import LAYOUTS, from_published
from t3d.models.registry import ARCHITECTURES, Architecture, create_model, native_input
from t3d.models.transitions import TemporalTransition

__all__ = [
    "ARCHITECTURES",
    "LAYOUTS",
    "Architecture",
    "DenseNet3D",
    "DenseNetSpec",
    "ModelSummary",
    "TemporalTransition",
    "create_model",
    "describe_models",
    "from_published",
    "native_input",
]
