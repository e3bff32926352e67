"""What the scores of videos amount to: accuracy by clip, by video, by class. No model, no files."""

import math
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from t3d.inference.scoring import VideoScores


@dataclass(frozen=True, kw_only=True)
class VideoResult:
    """One row of the predictions: plain values that travel between processes and into files."""

    video: str
    label: int
    scores: tuple[float, ...]
    """Mean softmax scores, one a class; empty where the video could not be decoded."""
    num_views: int
    views_correct: int
    tag: str = ""
    error: str = ""

    @property
    def ranking(self) -> list[int]:
        """Classes from the highest score down; equal scores in class order."""
        return sorted(range(len(self.scores)), key=lambda index: -self.scores[index])

    def within(self, k: int) -> bool:
        """Whether the label is among the k highest scores; an undecodable video never is."""
        return self.label in self.ranking[:k]


def as_result(video: VideoScores) -> VideoResult:
    """Reduce the scores of all views of a video to its row."""
    sample = video.sample
    if video.error:
        return VideoResult(
            video=sample.name,
            label=sample.label,
            scores=(),
            num_views=0,
            views_correct=0,
            tag=sample.tag,
            error=video.error,
        )
    return VideoResult(
        video=sample.name,
        label=sample.label,
        scores=tuple(video.scores.tolist()),
        num_views=len(video.clip_scores),
        views_correct=int((video.clip_scores.argmax(dim=1) == sample.label).sum()),
        tag=sample.tag,
    )


def summarise(results: Sequence[VideoResult]) -> dict[str, Any]:
    """Accuracies as fractions; a video that could not be decoded counts as wrong at video level.

    Args:
        results: One row a video, each once.

    Returns:
        `video` (top1, top1_interval, top5, mean_class, num_videos), `clip` (top1, num_clips), and `by_tag` where the
        dataset tags its videos.
    """
    top1 = [result.within(1) for result in results]
    by_class = _grouped((result.label, result.within(1)) for result in results)
    num_views = sum(result.num_views for result in results)
    summary: dict[str, Any] = {
        "video": {
            "top1": _mean(top1),
            "top1_interval": wilson_interval(sum(top1), len(top1)),
            "top5": _mean([result.within(5) for result in results]),
            "mean_class": _mean([_mean(hits) for hits in by_class.values()]),
            "num_videos": len(results),
        },
        "clip": {
            "top1": sum(result.views_correct for result in results) / num_views if num_views else None,
            "num_clips": num_views,
        },
    }
    by_tag = _grouped((result.tag, result.within(1)) for result in results if result.tag)
    if by_tag:
        summary["by_tag"] = {
            tag: {"top1": _mean(hits), "num_videos": len(hits)} for tag, hits in sorted(by_tag.items())
        }
    return summary


def confusion(results: Iterable[VideoResult], num_classes: int) -> list[list[int]]:
    """Counts of videos, rows true classes, columns predicted ones; undecodable videos are in no column."""
    counts = [[0] * num_classes for _ in range(num_classes)]
    for result in results:
        if result.scores:
            counts[result.label][result.ranking[0]] += 1
    return counts


def class_accuracy(results: Iterable[VideoResult]) -> dict[int, tuple[float, int]]:
    """Top-1 and number of videos of every class that has any."""
    by_class = _grouped((result.label, result.within(1)) for result in results)
    return {label: (_mean(hits), len(hits)) for label, hits in sorted(by_class.items())}


def wilson_interval(successes: int, trials: int) -> tuple[float, float]:
    """95 % interval of a proportion.

    Source: Wilson 1927, Probable inference, the law of succession, and statistical inference.
    """
    if trials == 0:
        return (0.0, 1.0)
    z = 1.959964
    share = successes / trials
    centre = share + z * z / (2 * trials)
    margin = z * math.sqrt(share * (1 - share) / trials + z * z / (4 * trials * trials))
    scale = 1 + z * z / trials
    return (max(0.0, (centre - margin) / scale), min(1.0, (centre + margin) / scale))


def _grouped(pairs: Iterable[tuple[Any, bool]]) -> dict[Any, list[bool]]:
    groups: dict[Any, list[bool]] = defaultdict(list)
    for key, hit in pairs:
        groups[key].append(hit)
    return groups


def _mean(values: Sequence[float] | Sequence[bool]) -> float:
    return sum(values) / len(values) if values else 0.0
