"""Write a translated network to a file, provided that what is read back computes what PyTorch does."""

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
    """How near two backends are on the same clips, or how near they must be."""

    difference: float
    """Largest difference of a logit, as a share of the largest logit of the reference."""
    agreement: float
    """Share of clips whose likeliest class is the same."""


TOLERANCES = {
    "float32": Parity(difference=1e-4, agreement=0.0),
    "bf16": Parity(difference=0.05, agreement=0.0),
    "int8": Parity(difference=0.1, agreement=0.9),
}
"""Of each precision: the largest difference that is let pass, and the smallest agreement."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Check:
    """A comparison with PyTorch that a backend must pass."""

    reference: Scorer
    """What is right by definition."""
    clips: Views
    """Scored by both: first one clip by itself, then several at once."""
    tolerance: Parity

    def __call__(self, scorer: Scorer) -> Parity:
        """Measure a backend.

        Raises:
            CheckpointError: It is further from the reference than it may be.
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
    """Compare logits with those of the reference; a difference that is no number counts as infinite."""
    difference = (found - expected).abs().max() / expected.abs().max()
    agreement = (found.argmax(dim=1) == expected.argmax(dim=1)).float().mean()
    return Parity(difference=float(difference.nan_to_num(torch.inf)), agreement=float(agreement))


def noise_clips(shape: tuple[int, int, int, int], count: int) -> Views:
    """Clips (C, T, H, W) of noise, always the same."""
    return torch.randint(256, (count, *shape), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))


def _logits(scorer: Scorer, clips: Views) -> Logits:
    parts = [clips[:1], *clips[1:].split(_CLIPS_AT_ONCE)]
    return torch.cat([scorer(part).cpu() for part in parts])


def write_export(
    path: Path,
    network: Any,  # noqa: ANN401  (the backend's own)
    *,
    card: ModelCard,
    backend: Backend,
    export: Export,
    check: Check,
) -> Export:
    """Write a network, read it again, compare, and give it its name; nothing is left behind where it fails.

    Args:
        path: Must end in the first suffix of the backend.
        network: What the backend's `translate` made.
        card: Written into the file.
        backend: Reads, computes and writes it.
        export: Likewise written, with what is measured here.
        check: The comparison that the file must pass.

    Raises:
        CheckpointError: What was written does not compute what it should.
    """
    with ExitStack() as files:
        unfinished, *_ = [files.enter_context(complete(path.with_suffix(suffix))) for suffix in backend.suffixes]
        backend.save(network, unfinished, to_text(card, export))
        try:
            measured = check(backend.start(read_export(unfinished, backend)[0], export.precision))
            export = replace(export, **asdict(measured))
            backend.save(network, unfinished, to_text(card, export))
            read_export(unfinished, backend)  # what was compared is another file
        except CheckpointError as error:
            raise CheckpointError(f"{path}: not written: {error}") from error
    return export
