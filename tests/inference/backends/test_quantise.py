import sys
from collections.abc import Callable
from importlib.util import find_spec
from typing import Any

import pytest

from t3d.errors import ConfigError
from t3d.inference.backends import BACKENDS
from t3d.inference.backends.openvino import quantise
from t3d.inference.export import compare, noise_clips
from t3d.inference.graph import clip_shape
from t3d.inference.scorer import torch_scorer


@pytest.mark.skipif(find_spec("nncf") is None, reason="nncf is not installed")
def test_every_convolution_is_computed_in_eight_bits(translated: Callable[..., Any]) -> None:
    subject = translated("openvino")
    clips = noise_clips(clip_shape(subject.card), 6)
    quantised = BACKENDS["openvino"].translate(subject.network, subject.card, clips[:4])
    nodes = quantised.get_ordered_ops()
    convolutions = [node for node in nodes if node.get_type_name() == "Convolution"]
    kernels = [node for node in nodes if node.get_type_name() == "Constant" and len(node.get_output_shape(0)) == 5]
    assert {node.input_value(0).get_node().get_type_name() for node in convolutions} == {"FakeQuantize"}
    eight_bits = [node for node in kernels if node.get_element_type().get_type_name() == "i8"]
    assert len(eight_bits) == len(convolutions)
    found = BACKENDS["openvino"].start(quantised, "int8")(clips)
    assert 1e-4 < compare(found, torch_scorer(subject.network, subject.card.pixels)(clips)).difference < 0.3


def test_nncf_that_is_not_installed_is_named(translated: Callable[..., Any], monkeypatch: pytest.MonkeyPatch) -> None:
    subject = translated("openvino")
    monkeypatch.setitem(sys.modules, "nncf", None)
    with pytest.raises(ConfigError, match=r"nncf is not installed; install 't3d\[openvino\]'"):
        quantise(subject.model, noise_clips(clip_shape(subject.card), 1))
