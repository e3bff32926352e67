"""The worked example of CONTRIBUTING: a backend is a file with a `Backend`, and a row of `backends.BACKENDS`."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from t3d.config import EngineName, ExportPrecision, ExportTarget
from t3d.inference.backends import BACKENDS, backend_for_target, backends_docs, check_engine
from t3d.inference.backends.base import Backend, Export, Scorer
from t3d.inference.export import TOLERANCES, Check, noise_clips, write_export
from t3d.inference.graph import clip_shape
from t3d.inference.open import open_model
from t3d.inference.scorer import torch_scorer
from t3d.models.checkpoints import ModelCard, file_hash, load_model, save_weights
from t3d.run_files import EXPORTED_SUFFIXES, WEIGHTS_NAME

Arrays = dict[str, np.ndarray]


def translate(network: nn.Module, card: ModelCard, calibration: Tensor | None) -> Arrays:
    """The weights as arrays, and the card, by which they are computed again."""
    assert calibration is None
    weights = {f"weights.{name}": tensor.cpu().numpy() for name, tensor in network.state_dict().items()}
    return {"card": np.array(card.to_json()), **weights}


def save(arrays: Arrays, path: Path, text: str) -> None:
    with path.open("wb") as file:
        np.savez(file, text=np.array(text), **arrays)


def read(path: Path) -> tuple[Arrays, str | None]:
    arrays = dict(np.load(path))
    return arrays, str(arrays.pop("text"))


def start(arrays: Arrays, precision: str) -> Scorer:
    card = ModelCard.from_json(str(arrays["card"]))
    network = card.build().eval()
    prefix = "weights."
    tensors = {
        name.removeprefix(prefix): torch.from_numpy(array) for name, array in arrays.items() if name.startswith(prefix)
    }
    network.load_state_dict(tensors)
    return torch_scorer(network, card.pixels)


TOY = Backend(
    name="arrays",
    target="numpy",
    summary="nothing but an example",
    suffixes=(".npz",),
    precisions=("float32",),
    packages={"float32": ("numpy",)},
    translate=translate,
    save=save,
    read=read,
    start=start,
)


@pytest.fixture(autouse=True)
def _registered(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(BACKENDS, TOY.name, TOY)


@pytest.fixture
def run(tmp_path: Path, card: ModelCard, micro_model: Callable[..., nn.Module]) -> Path:
    folder = tmp_path / "run"
    folder.mkdir()
    save_weights(folder / WEIGHTS_NAME, micro_model().state_dict(), card)
    return folder


def test_it_exports_and_scores(run: Path) -> None:
    network, card = load_model(run)
    weights, output = run / WEIGHTS_NAME, run / "weights-numpy-float32.npz"
    written = write_export(
        output,
        TOY.translate(network, card, None),
        card=card,
        backend=TOY,
        export=Export(
            engine=TOY.name,
            precision="float32",
            weights=str(weights),
            weights_sha256=file_hash(weights),
            versions=TOY.releases("float32"),
        ),
        check=Check(
            reference=torch_scorer(network, card.pixels),
            clips=noise_clips(clip_shape(card), 3),
            tolerance=TOLERANCES["float32"],
        ),
    )
    assert written.difference <= TOLERANCES["float32"].difference
    assert written.versions == {"numpy": np.__version__}
    clips = torch.randint(256, (3, 3, 4, 32, 32), dtype=torch.uint8)
    expected = open_model(run).start(torch.device("cpu"))(clips)
    for path, engine in ((output, "auto"), (run, "arrays")):  # read, and translated in memory
        model = open_model(path, engine=engine)
        assert (model.engine, model.cpu_only, model.run) == ("arrays", True, run)
        torch.testing.assert_close(model.start(torch.device("cpu"))(clips), expected, rtol=1e-4, atol=1e-4)


def test_it_is_in_messages_and_docs(tmp_path: Path) -> None:
    assert backend_for_target("numpy") is TOY
    with pytest.raises(Exception, match="openvino, onnx, torch, numpy"):
        backend_for_target("typo")
    with pytest.raises(Exception, match="auto, openvino, onnxruntime, torch, arrays"):
        check_engine(tmp_path, engine="typo")
    with pytest.raises(Exception, match=r"x\.npz is for arrays"):
        check_engine(tmp_path / "x.npz", engine="openvino")
    with pytest.raises(Exception, match=r"bf16-mixed.*arrays computes in float32"):
        check_engine(tmp_path, engine="arrays", precision="bf16-mixed")
    assert "| `arrays` | `numpy` | `.npz` | float32 | included | nothing but an example |" in backends_docs()


def test_choices_of_flags_are_those_of_the_table() -> None:
    """They are taken from it when the program starts, and so are without this row here."""
    table = [backend for backend in BACKENDS.values() if backend is not TOY]
    assert EngineName.__args__ == ("auto", *(backend.name for backend in table))
    assert ExportTarget.__args__ == tuple(backend.target for backend in table)
    assert set(ExportPrecision.__args__) == {name for backend in table for name in backend.precisions}
    assert TOLERANCES.keys() == set(ExportPrecision.__args__)
    assert sorted(EXPORTED_SUFFIXES) == sorted(backend.suffixes[0] for backend in table)
