"""Eight-bit integers for an OpenVINO graph, fitted to clips the network was trained on (post-training quantisation)."""

import logging
import sys
from contextlib import redirect_stdout
from typing import TYPE_CHECKING

from t3d.engine.exports.engine import missing
from t3d.engine.exports.openvino_graph import load_openvino
from t3d.tensors import Views

if TYPE_CHECKING:
    from openvino import Model


def quantise(model: "Model", clips: Views) -> "Model":
    """Compute in int8 what bears it; ranges of activations are those seen on the clips.

    Args:
        model: Stays as it is.
        clips: Typical input, never of test videos.

    Raises:
        ConfigError: NNCF is not installed.
    """
    load_openvino()
    try:
        import nncf
    except ImportError as error:
        raise missing("nncf", "openvino") from error
    from nncf.quantization.range_estimator import RangeEstimatorParametersSet

    nncf.set_log_level(logging.ERROR)
    with redirect_stdout(sys.stderr):  # where progress belongs
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
