"""From a run folder, a weights file or an exported file to what scores clips, by whichever engine."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch

from t3d.errors import ConfigError
from t3d.inference.backends.base import Engine, Export
from t3d.inference.backends.table import ENGINES, engine_of, read_export
from t3d.inference.export import translate
from t3d.inference.scorer import Scorer, torch_scorer
from t3d.models import Network, folded
from t3d.models.checkpoints import ModelCard, file_hash, load_model, weights_file

PRECISIONS = {"32-true": "float32", "bf16-mixed": "bf16", "16-mixed": "fp16"}
"""Names of the command line, and those of engines and results."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Opened:
    """A network that is ready to score."""

    file: Path
    card: ModelCard
    engine: str
    precision: str
    """Of the arithmetic: float32, bf16, fp16 or int8."""
    start: Callable[[torch.device], Scorer]
    """Make it score on a device."""
    export: Export | None = None
    """How the file was made, where it is an exported one."""

    @property
    def cpu_only(self) -> bool:
        """Whether it knows no other device."""
        return self.export is not None or self.engine != "torch"

    @property
    def run(self) -> Path | None:
        """Folder of the run the weights are of; of an exported file only where these are still there, or beside it."""
        if self.export is None:
            return self.file.parent
        return next((place.parent for place in self._places if _is_file(place, self.export.weights_sha256)), None)

    @property
    def is_outdated(self) -> bool:
        """Whether it was exported from weights in the place of which there are others now."""
        return any(place.is_file() for place in self._places) and self.run is None

    @property
    def _places(self) -> tuple[Path, ...]:
        """Where the weights of an exported file may be; a folder may have been moved as a whole."""
        if self.export is None:
            return ()
        named = Path(self.export.weights)
        return named, self.file.with_name(named.name)


def open_network(path: Path, *, engine: str = "auto", precision: str = "32-true") -> Opened:
    """Open what scores clips.

    Args:
        path: A run folder, a weights file, or what `t3d export` wrote.
        engine: auto is the one an exported file is for, and PyTorch for weights, which others are translated to here.
        precision: 32-true, bf16-mixed or 16-mixed; an exported file has its own.

    Raises:
        CheckpointError: A file is missing, damaged, or was not written by t3d.
        ConfigError: The engine is unknown, not installed, or not for this file or precision.
    """
    if engine not in ("auto", *ENGINES):
        raise ConfigError(f"engine {engine!r}; choose from {', '.join(['auto', *ENGINES])}")
    made_for = engine_of(path)
    if made_for is not None:
        return _exported(path, made_for, engine=engine, precision=precision)
    if engine in ("auto", "torch"):
        return _in_torch(path, precision)
    return _translated(path, ENGINES[engine], precision)


def _is_file(path: Path, digest: str) -> bool:
    return path.is_file() and file_hash(path) == digest


def _in_torch(path: Path, precision: str) -> Opened:
    model, card = load_model(path)
    assert isinstance(model, Network)
    ready = folded(model)

    def start(device: torch.device) -> Scorer:
        return torch_scorer(ready.to(device), card.pixels)

    return Opened(file=weights_file(path), card=card, engine="torch", precision=PRECISIONS[precision], start=start)


def _translated(path: Path, engine: Engine, precision: str) -> Opened:
    wanted = PRECISIONS[precision]
    if wanted not in engine.precisions:
        able = ["torch", *(name for name, other in ENGINES.items() if wanted in other.precisions)]
        raise ConfigError(
            f"--precision {precision}: --engine {engine.name} computes in {' or '.join(engine.precisions)}; leave it "
            f"out, or use --engine {' or '.join(able)}"
        )
    network, card = load_model(path)
    model = translate(network, card, engine=engine)
    return Opened(
        file=weights_file(path),
        card=card,
        engine=engine.name,
        precision=wanted,
        start=lambda _: engine.start(model, wanted),
    )


def _exported(path: Path, made_for: Engine, *, engine: str, precision: str) -> Opened:
    if engine not in ("auto", made_for.name):
        raise ConfigError(f"--engine {engine}: {path} is for {made_for.name}; leave it out, or give the run instead")
    if precision != "32-true":
        raise ConfigError(f"--precision {precision}: {path} has one of its own; leave it out, or export it in another")
    model, card, export = read_export(path, made_for)
    return Opened(
        file=path,
        card=card,
        engine=made_for.name,
        precision=export.precision,
        start=lambda _: made_for.start(model, export.precision),
        export=export,
    )
