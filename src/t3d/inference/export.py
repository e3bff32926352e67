"""Write a translated network to a file, and keep it only if the file computes what PyTorch does."""

from contextlib import ExitStack
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import torch

from t3d.errors import CheckpointError
from t3d.files import complete
from t3d.inference.backends import read_export
from t3d.inference.backends.base import Backend, Export, Scorer, to_text
from t3d.models.checkpoints import ModelCard
from t3d.tensors import Logits, Views

_CLIPS_AT_ONCE = 4


@dataclass(frozen=True, kw_only=True)
class Parity:
    """Agreement of two backends on the same clips, or the required agreement."""

    difference: float
    """Largest difference of a logit, relative to the largest logit of the reference."""
    agreement: float
    """Fraction of clips with the same top class."""


TOLERANCES = {
    "float32": Parity(difference=1e-4, agreement=0.0),
    "bf16": Parity(difference=0.05, agreement=0.0),
    "int8": Parity(difference=0.1, agreement=0.9),
}
"""Largest allowed difference and smallest allowed agreement for each precision."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Check:
    """A comparison with PyTorch that a backend must pass."""

    reference: Scorer
    """Scorer that defines the correct logits."""
    clips: Views
    """Clips scored by both: first one alone, then several at once."""
    tolerance: Parity

    def __call__(self, scorer: Scorer) -> Parity:
        """Measure a backend.

        Raises:
            CheckpointError: It differs more from the reference than allowed.
        """
        found = compare(_logits(scorer, self.clips), _logits(self.reference, self.clips))
        if found.difference > self.tolerance.difference:
            raise CheckpointError(
                f"logits differ from PyTorch's in float32 by {found.difference:.2g} of the largest one, more than the "
                f"{self.tolerance.difference:g} that is let pass; give a larger --tolerance if this is near enough"
            )
        if found.agreement < self.tolerance.agreement:
            raise CheckpointError(
                f"the likeliest class is PyTorch's in float32 for {found.agreement:.0%} of {len(self.clips)} clips, "
                f"fewer than {self.tolerance.agreement:.0%}; use a finer --precision or more --calibration-clips"
            )
        return found


def compare(found: Logits, expected: Logits) -> Parity:
    """Compare logits with those of the reference; NaN counts as an infinite difference."""
    difference = (found - expected).abs().max() / expected.abs().max()
    agreement = (found.argmax(dim=1) == expected.argmax(dim=1)).float().mean()
    return Parity(difference=float(difference.nan_to_num(torch.inf)), agreement=float(agreement))


def noise_clips(shape: tuple[int, int, int, int], count: int) -> Views:
    """Clips (C, T, H, W) of noise from a fixed seed."""
    return torch.randint(256, (count, *shape), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))


def _logits(scorer: Scorer, clips: Views) -> Logits:
    parts = [clips[:1], *clips[1:].split(_CLIPS_AT_ONCE)]
    return torch.cat([scorer(part).cpu() for part in parts])


def write_export(
    path: Path,
    network: Any,  # noqa: ANN401  (a type of the backend)
    *,
    card: ModelCard,
    backend: Backend,
    export: Export,
    check: Check,
) -> Export:
    """Write a network under a temporary name, read it again, compare, and rename it; a failure leaves no file.

    Args:
        path: Must end in the first suffix of the backend.
        network: From the backend's `translate`.
        card: Written into the file.
        backend: Reads, computes and writes it.
        export: Also written, with the measured agreement.
        check: The comparison that the file must pass.

    Raises:
        CheckpointError: The file does not compute what it should.
    """
    with ExitStack() as files:
        unfinished, *_ = [files.enter_context(complete(path.with_suffix(suffix))) for suffix in backend.suffixes]
        backend.save(network, unfinished, to_text(card, export))
        try:
            measured = check(backend.start(read_export(unfinished, backend)[0], export.precision))
            export = replace(export, **asdict(measured))
            backend.save(network, unfinished, to_text(card, export))
            read_export(unfinished, backend)  # the compared file has another name
        except CheckpointError as error:
            raise CheckpointError(f"{path}: not written: {error}") from error
    return export
