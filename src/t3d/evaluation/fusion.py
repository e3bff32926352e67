"""Late fusion: the scores of several networks as one weighted mean, and the weights that suit held-out videos best.

Plain rows in, plain rows out; which runs they are of is not known here.
"""

import math
import operator
from collections.abc import Mapping, Sequence

import torch

from t3d.evaluation.metrics import VideoResult

_CLOSE_ENOUGH = 1e-9
_MOST_STEPS = 100_000
_LEAST_SCORE = 1e-12
"""Below it a score is taken to be this: a single video that all networks are sure and wrong about must not decide."""


def fit_weights(runs: Sequence[Sequence[VideoResult]]) -> tuple[float, ...]:
    """The weights of a mixture under which the labels are likeliest, by expectation maximisation.

    The mean log likelihood is concave in the weights, so there is one best value; at each step it is within the largest
    gain less one of it.

    Args:
        runs: For each network the same decoded videos in the same order, at least one.

    Returns:
        One weight a network, at least 0, sum 1.

    Source: Dempster, Laird and Rubin 1977, Maximum likelihood from incomplete data via the EM algorithm, section 4.3.
    """
    chances = [[max(row.scores[row.label], _LEAST_SCORE) for row in rows] for rows in runs]
    likelihoods = torch.tensor(chances, dtype=torch.float64)  # (R, N): networks, videos
    weights = torch.full((len(runs),), 1 / len(runs), dtype=torch.float64)
    for _ in range(_MOST_STEPS):
        gains = (likelihoods / (weights @ likelihoods)).mean(dim=1)
        if float(gains.max()) - 1 < _CLOSE_ENOUGH:
            break
        weights = weights * gains
    return tuple((weights / weights.sum()).tolist())


def unlike(first: Mapping[str, VideoResult], other: Mapping[str, VideoResult]) -> str:
    """What keeps two networks' rows from being mixed: a video that only one has, or its label; empty if nothing.

    Args:
        first: By video.
        other: By video.
    """
    odd = sorted(first.keys() ^ other.keys())
    if odd:
        return f"only one of them has {odd[0]}"
    return next((f"the label of {name}" for name, row in first.items() if other[name].label != row.label), "")


def mix(runs: Sequence[Sequence[VideoResult]], weights: Sequence[float]) -> list[VideoResult]:
    """The weighted mean of the scores of every video; one that any run could not decode has none, and its error.

    Args:
        runs: For each network the same videos in the same order.
        weights: One a network, sum 1.
    """
    return [_mixed(rows, weights) for rows in zip(*runs, strict=True)]


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
