"""Faster computation by explicit calls: `accelerate` for training, `prepare_for_inference` for scoring.

The plain networks are the definition and never import this package.
"""

from t3d.models.fast.inference import prepare_for_inference
from t3d.models.fast.training import accelerate, supports_recompute, undo_acceleration

__all__ = ["accelerate", "prepare_for_inference", "supports_recompute", "undo_acceleration"]
