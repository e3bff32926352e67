"""Open a run folder, a weights file or an exported file for scoring, by any backend."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch

from t3d.inference.backends import BACKENDS, backend_of, check_engine, read_export
from t3d.inference.backends.base import PRECISIONS, Backend, Export, Scorer
from t3d.inference.scorer import torch_scorer
from t3d.models import prepare_for_inference
from t3d.models.checkpoints import ModelCard, file_hash, load_model, weights_file


@dataclass(frozen=True, kw_only=True, eq=False)
class InferenceModel:
    """A network opened for scoring."""

    file: Path
    card: ModelCard
    engine: str
    """Name of the backend."""
    precision: str
    """Number format of the arithmetic: float32, bf16, fp16 or int8."""
    start: Callable[[torch.device], Scorer]
    """Returns the scorer on a device."""
    export: Export | None = None
    """Description of the export, for exported files."""

    @property
    def cpu_only(self) -> bool:
        """Whether the backend supports the CPU only."""
        return self.export is not None or self.engine != "torch"

    @property
    def run(self) -> Path | None:
        """Run folder of the weights; for an exported file only if they still exist, or are beside it."""
        if self.export is None:
            return self.file.parent
        return next((place.parent for place in self._places if _is_file(place, self.export.weights_sha256)), None)

    @property
    def is_outdated(self) -> bool:
        """Whether the weights have changed since the export."""
        return any(place.is_file() for place in self._places) and self.run is None

    @property
    def _places(self) -> tuple[Path, ...]:
        """Possible paths of the weights of an exported file; the whole folder may have been moved."""
        if self.export is None:
            return ()
        named = Path(self.export.weights)
        return named, self.file.with_name(named.name)


def open_model(path: Path, *, engine: str = "auto", precision: str = "32-true") -> InferenceModel:
    """Open a trained network for scoring.

    Args:
        path: A run folder, a weights file, or an exported file.
        engine: A name of `t3d.inference.backends.BACKENDS`. Weights are translated in memory for all but torch; auto
            is PyTorch for weights, and the file's backend for an exported file.
        precision: 32-true, bf16-mixed or 16-mixed; an exported file has its own.

    Raises:
        CheckpointError: A file is missing, damaged, or was not written by t3d.
        ConfigError: The engine is unknown, not installed, or does not fit this file or precision.
    """
    check_engine(path, engine=engine, precision=precision)
    backend = backend_of(path)
    if backend is not None:
        return _exported(path, backend)
    if engine in ("auto", "torch"):
        return _eager(path, PRECISIONS[precision])
    return _translated(path, BACKENDS[engine], PRECISIONS[precision])


def _eager(path: Path, precision: str) -> InferenceModel:
    network, card = load_model(path)
    ready = prepare_for_inference(network)

    def start(device: torch.device) -> Scorer:
        return torch_scorer(ready.to(device), card.pixels)

    return InferenceModel(file=weights_file(path), card=card, engine="torch", precision=precision, start=start)


def _translated(path: Path, backend: Backend, precision: str) -> InferenceModel:
    network, card = load_model(path)
    translated = backend.translate(network, card, None)
    return InferenceModel(
        file=weights_file(path),
        card=card,
        engine=backend.name,
        precision=precision,
        start=lambda _: backend.start(translated, precision),
    )


def _exported(path: Path, backend: Backend) -> InferenceModel:
    network, card, export = read_export(path, backend)
    return InferenceModel(
        file=path,
        card=card,
        engine=backend.name,
        precision=export.precision,
        start=lambda _: backend.start(network, export.precision),
        export=export,
    )


def _is_file(path: Path, digest: str) -> bool:
    return path.is_file() and file_hash(path) == digest
