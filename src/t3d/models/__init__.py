"""The networks: built by name or from their parts. How they learn is not known here."""

from t3d.models.c3d import C3DSpec
from t3d.models.dense_block import recompute
from t3d.models.densenet_spec import DenseNetSpec
from t3d.models.describe import ModelSummary, describe_models
from t3d.models.folding import folded
from t3d.models.inception3d import InceptionSpec
from t3d.models.insertion import with_transition
from t3d.models.layouts import LAYOUTS
from t3d.models.network import Network
from t3d.models.published import from_published, read_published
from t3d.models.registry import ARCHITECTURES, Architecture, create_model, native_input
from t3d.models.resnet3d import ResNetSpec
from t3d.models.transitions import TemporalTransition

__all__ = [
    "ARCHITECTURES",
    "LAYOUTS",
    "Architecture",
    "C3DSpec",
    "DenseNetSpec",
    "InceptionSpec",
    "ModelSummary",
    "Network",
    "ResNetSpec",
    "TemporalTransition",
    "create_model",
    "describe_models",
    "folded",
    "from_published",
    "native_input",
    "read_published",
    "recompute",
    "with_transition",
]
