"""How much each of several evaluated runs counts, and who says so; the fit itself is `t3d.engine.fusion`."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from t3d.config import FuseConfig
from t3d.engine.fusion import fit_weights, unlike
from t3d.engine.metrics import VideoResult
from t3d.errors import CheckpointError, DataError
from t3d.recipes.evaluated import Evaluated, read_predicted


@dataclass(frozen=True, kw_only=True)
class Weights:
    """How much each run counts."""

    values: tuple[float, ...]
    fitted: bool = False
    """On validation videos, so that another seed may have other values by the same rule."""
    origin: str
    """The same and more, for people."""
    warnings: tuple[str, ...] = ()


def aligned(runs: Sequence[Evaluated]) -> list[list[VideoResult]]:
    """Every run's rows in the order of the first one's.

    Raises:
        DataError: The videos or labels are not the same.
    """
    first = runs[0]
    for other in runs[1:]:
        what = unlike(first.results, other.results)
        if other.labels != first.labels:
            what = f"classes {len(first.labels)} and {len(other.labels)}, or other ones"
        if what:
            pair = f"{first.name} and {other.name}"
            raise DataError(f"{pair}: evaluated on different videos ({what}); use the same list")
    return [[each.results[name] for name in first.results] for each in runs]


def choose_weights(config: FuseConfig, runs: Sequence[Evaluated]) -> Weights:
    """Those given by hand, else those fitted on validation videos, else equal ones with a warning.

    Raises:
        CheckpointError: Validation predictions are of other weights.
        DataError: They are of videos that weights cannot or must not be fitted on.
    """
    if config.weights:
        return Weights(values=tuple(weight / sum(config.weights) for weight in config.weights), origin="given by hand")
    lacking = [path for path in config.runs if not _validation(path).is_dir()]
    if lacking:
        how = f"t3d evaluate {lacking[0]} --subset validation, after a training with --select-on validation"
        text = f"equal, for {lacking[0]} has no validation predictions ({how})"
        return Weights(values=(1 / len(runs),) * len(runs), origin=text, warnings=(f"the weights are {text}",))
    return _fitted([_read(_validation(path), tested) for path, tested in zip(config.runs, runs, strict=True)])


def _validation(run: Path) -> Path:
    return run / "validation"


def _fitted(validations: Sequence[Evaluated]) -> Weights:
    decoded = [rows for rows in zip(*aligned(validations), strict=True) if all(row.scores for row in rows)]
    if not decoded:
        name = validations[0].name
        raise DataError(f"{name}: no video to fit weights on was decoded by all runs; give them by --weights")
    return Weights(
        values=fit_weights(list(zip(*decoded, strict=True))),
        fitted=True,
        origin=f"fitted on {len(decoded)} videos, {validations[0].metrics['dataset']['split']}",
        warnings=tuple(line for each in validations for line in _caveats(each)),
    )


def _caveats(validation: Evaluated) -> list[str]:
    """What an evaluation warned of, but for being none of test videos, which is the point of it."""
    warnings = [line for line in validation.metrics["warnings"] if not line.startswith("these are validation videos")]
    return [f"weights were fitted on {validation.name}: {line}" for line in warnings]


def _read(folder: Path, tested: Evaluated) -> Evaluated:
    """Validation predictions that fit the test predictions of a run.

    Raises:
        CheckpointError: They are of other weights.
        DataError: They are of videos that weights must not be fitted on.
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
