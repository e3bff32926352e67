from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import nn

from t3d.errors import ConfigError
from t3d.inference.backends.base import Export
from t3d.inference.open import InferenceModel, open_model
from t3d.models.checkpoints import ModelCard, file_hash, save_weights


@pytest.fixture
def weights(micro_model: Callable[..., nn.Module], card: ModelCard, tmp_path: Path) -> Path:
    save_weights(tmp_path / "weights.safetensors", micro_model().state_dict(), card)
    return tmp_path / "weights.safetensors"


def test_weights_are_scored_by_pytorch_unless_another_engine_is_named(
    weights: Path, micro_model: Callable[..., nn.Module], card: ModelCard
) -> None:
    opened = open_model(weights, precision="bf16-mixed")
    assert (opened.file, opened.card, opened.engine, opened.precision) == (weights, card, "torch", "bf16")
    assert not opened.cpu_only
    clips = torch.randint(256, (2, 3, 4, 32, 32), dtype=torch.uint8)
    with torch.no_grad():
        expected = micro_model().eval()((clips.float() / 255 - 0.45) / 0.225)
    torch.testing.assert_close(opened.start(torch.device("cpu"))(clips), expected)


def test_an_engine_that_has_no_such_precision_says_so_before_anything_is_translated(weights: Path) -> None:
    with pytest.raises(ConfigError, match=r"16-mixed: .*openvino.*float32 or bf16 or int8"):
        open_model(weights, engine="openvino", precision="16-mixed")


def test_an_unknown_engine_is_named(weights: Path) -> None:
    with pytest.raises(ConfigError, match=r"tensorrt.*auto, openvino, onnxruntime, torch"):
        open_model(weights, engine="tensorrt")


def test_the_run_of_an_export_is_that_of_its_weights_while_they_are_there(
    weights: Path, card: ModelCard, tmp_path: Path
) -> None:
    export = Export(engine="torch", precision="float32", weights=str(weights), weights_sha256=file_hash(weights))
    opened = InferenceModel(
        file=tmp_path / "elsewhere" / "a.pt2",
        card=card,
        engine="torch",
        precision="float32",
        start=lambda _: lambda clips: clips,
        export=export,
    )
    assert opened.cpu_only
    assert opened.run == tmp_path
    assert replace(opened, export=None).run == tmp_path / "elsewhere"
    (tmp_path / "elsewhere").mkdir()
    weights.rename(tmp_path / "elsewhere" / weights.name)  # moved together
    assert opened.run == tmp_path / "elsewhere"
    for place in (weights, tmp_path / "elsewhere" / weights.name):
        place.write_bytes(b"of another training")
    assert opened.run is None
