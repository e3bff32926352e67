"""Networks: create by name or from parts, load published weights, accelerate for training or inference."""

from t3d.models.c3d import C3DSpec
from t3d.models.fast import accelerate, prepare_for_inference, supports_recompute, undo_acceleration
from t3d.models.inception3d import InceptionSpec
from t3d.models.insertion import with_transition
from t3d.models.network import Network
from t3d.models.pretrained.layouts import LAYOUTS
from t3d.models.pretrained.reading import from_published, read_published
from t3d.models.registry import ARCHITECTURES, Architecture, create_model, native_input
from t3d.models.resnet3d import ResNetSpec
from t3d.models.summary import ModelSummary, describe_models
from t3d.models.t3d import DenseNetSpec, TemporalTransition

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
    "accelerate",
    "create_model",
    "describe_models",
    "from_published",
    "native_input",
    "prepare_for_inference",
    "read_published",
    "supports_recompute",
    "undo_acceleration",
    "with_transition",
]
