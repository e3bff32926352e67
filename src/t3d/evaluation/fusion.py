"""Late fusion: weighted mean of the scores of several runs, with weights fitted on validation videos."""

import math
import operator
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from t3d.errors import CheckpointError, DataError
from t3d.evaluation.metrics import VideoResult
from t3d.evaluation.results import Evaluated, read_predicted

_CLOSE_ENOUGH = 1e-9
_MOST_STEPS = 100_000
_LEAST_SCORE = 1e-12
"""Lower bound of scores: a single video that all networks are confidently wrong about must not dominate."""


@dataclass(frozen=True, kw_only=True)
class FusionWeights:
    """Weights of the runs, and their origin."""

    values: tuple[float, ...]
    """One weight per run, sum 1."""
    fitted: bool = False
    """Whether they were fitted on validation videos; other seeds then have other values."""
    origin: str
    """Origin as text, for reports."""
    warnings: tuple[str, ...] = ()


def choose_weights(paths: Sequence[Path], runs: Sequence[Evaluated], *, given: Sequence[float] = ()) -> FusionWeights:
    """The given weights, else weights fitted on validation videos, else equal weights with a warning.

    Args:
        paths: The run folders.
        runs: Their results on test videos.
        given: One weight per run, or empty.

    Raises:
        CheckpointError: Validation predictions are of other weights.
        DataError: Weights cannot or must not be fitted on their videos.
    """
    if given:
        return FusionWeights(values=tuple(weight / sum(given) for weight in given), origin="given by hand")
    lacking = [path for path in paths if not _validation(path).is_dir()]
    if lacking:
        how = f"t3d evaluate {lacking[0]} --subset validation, after a training with --select-on validation"
        text = f"equal, for {lacking[0]} has no validation predictions ({how})"
        return FusionWeights(values=(1 / len(runs),) * len(runs), origin=text, warnings=(f"the weights are {text}",))
    return _fitted([_read_validation(_validation(path), run) for path, run in zip(paths, runs, strict=True)])


def aligned(runs: Sequence[Evaluated]) -> list[list[VideoResult]]:
    """Rows of every run, in the order of the first run.

    Raises:
        DataError: The videos or labels are not the same.
    """
    first = runs[0]
    for other in runs[1:]:
        difference = find_difference(first.results, other.results)
        if other.labels != first.labels:
            difference = f"classes {len(first.labels)} and {len(other.labels)}, or other ones"
        if difference:
            pair = f"{first.name} and {other.name}"
            raise DataError(f"{pair}: evaluated on different videos ({difference}); use the same list")
    return [[each.results[name] for name in first.results] for each in runs]


def fit_weights(runs: Sequence[Sequence[VideoResult]]) -> tuple[float, ...]:
    """Maximum likelihood weights of the mixture of scores, by expectation maximisation.

    The mean log likelihood is concave in the weights, so there is one optimum. Its value is at most the largest gain
    minus one above that of the current step, which is the stopping criterion.

    Args:
        runs: For each run the same decoded videos in the same order, at least one.

    Returns:
        One weight per run, at least 0, sum 1.

    Source: Dempster, Laird and Rubin 1977, Maximum likelihood from incomplete data via the EM algorithm, section 4.3.
    """
    import torch

    chances = [[max(row.scores[row.label], _LEAST_SCORE) for row in rows] for rows in runs]
    likelihoods = torch.tensor(chances, dtype=torch.float64)  # (R, N): networks, videos
    weights = torch.full((len(runs),), 1 / len(runs), dtype=torch.float64)
    for _ in range(_MOST_STEPS):
        gains = (likelihoods / (weights @ likelihoods)).mean(dim=1)
        if float(gains.max()) - 1 < _CLOSE_ENOUGH:
            break
        weights = weights * gains
    return tuple((weights / weights.sum()).tolist())


def find_difference(first: Mapping[str, VideoResult], other: Mapping[str, VideoResult]) -> str:
    """First difference that prevents fusion: a video that only one run has, or its label; empty if none.

    Args:
        first: By video.
        other: By video.
    """
    odd = sorted(first.keys() ^ other.keys())
    if odd:
        return f"only one of them has {odd[0]}"
    return next((f"the label of {name}" for name, row in first.items() if other[name].label != row.label), "")


def mix(runs: Sequence[Sequence[VideoResult]], weights: Sequence[float]) -> list[VideoResult]:
    """Weighted mean of the scores of every video; a video that any run could not decode gets its error.

    Args:
        runs: For each run the same videos in the same order.
        weights: One per run, sum 1.
    """
    return [_mixed(rows, weights) for rows in zip(*runs, strict=True)]


def _validation(run: Path) -> Path:
    return run / "validation"


def _fitted(validations: Sequence[Evaluated]) -> FusionWeights:
    decoded = [rows for rows in zip(*aligned(validations), strict=True) if all(row.scores for row in rows)]
    if not decoded:
        name = validations[0].name
        raise DataError(f"{name}: no video to fit weights on was decoded by all runs; give them by --weights")
    return FusionWeights(
        values=fit_weights(list(zip(*decoded, strict=True))),
        fitted=True,
        origin=f"fitted on {len(decoded)} videos, {validations[0].metrics['dataset']['split']}",
        warnings=tuple(line for each in validations for line in _caveats(each)),
    )


def _caveats(validation: Evaluated) -> list[str]:
    """The warnings of an evaluation, without the one about validation videos, which are expected here."""
    warnings = [line for line in validation.metrics["warnings"] if not line.startswith("these are validation videos")]
    return [f"weights were fitted on {validation.name}: {line}" for line in warnings]


def _read_validation(folder: Path, tested: Evaluated) -> Evaluated:
    """Read the validation predictions that belong to the test predictions of a run.

    Raises:
        CheckpointError: They are of other weights.
        DataError: Weights must not be fitted on their videos.
    """
    validation = read_predicted(folder)
    subset = validation.metrics["dataset"].get("subset")
    if subset != "validation":
        raise DataError(f"{folder}: holds predictions of {subset} videos; weights are fitted on validation videos only")
    shared = sorted(validation.results.keys() & tested.results.keys())
    if shared:
        raise DataError(f"{folder}: {shared[0]} is a test video, too; weights must not be fitted on it")
    if validation.metrics["checkpoint"]["sha256"] != tested.metrics["checkpoint"]["sha256"]:
        raise CheckpointError(f"{folder}: of other weights than {tested.name}; run t3d evaluate again for both lists")
    return validation


def _mixed(rows: Sequence[VideoResult], weights: Sequence[float]) -> VideoResult:
    first, error = rows[0], next((row.error for row in rows if row.error), "")
    columns = zip(*(row.scores for row in rows), strict=not error)
    scores = tuple(math.fsum(map(operator.mul, weights, column)) for column in columns)
    return VideoResult(
        video=first.video,
        label=first.label,
        scores=() if error else scores,
        num_views=0,
        views_correct=0,
        tag=first.tag,
        error=error,
    )
