"""The table of metrics: accuracy by video, by clip, by class."""

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from t3d.inference.scoring import VideoScores


@dataclass(frozen=True, kw_only=True)
class VideoResult:
    """One row of the predictions; plain values, to be sent between processes and written to files."""

    video: str
    label: int
    scores: tuple[float, ...]
    """Softmax score of each class; empty if the video could not be decoded."""
    num_views: int
    views_correct: int
    tag: str = ""
    error: str = ""

    @property
    def ranking(self) -> list[int]:
        """Classes by descending score; equal scores in class order."""
        return sorted(range(len(self.scores)), key=lambda index: -self.scores[index])

    def within(self, k: int) -> bool:
        """Whether the label is among the k highest scores; False for an undecodable video."""
        return self.label in self.ranking[:k]


def video_result(video: "VideoScores") -> VideoResult:
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


def video_top1(results: Sequence[VideoResult]) -> float:
    """Share of videos whose label has the highest score."""
    return _mean([result.within(1) for result in results])


def video_top5(results: Sequence[VideoResult]) -> float:
    """Share of videos whose label is among the five highest scores."""
    return _mean([result.within(5) for result in results])


def mean_class_accuracy(results: Sequence[VideoResult]) -> float:
    """Top-1 of each class that has videos, averaged over classes."""
    by_class = _grouped((result.label, result.within(1)) for result in results)
    return _mean([_mean(hits) for hits in by_class.values()])


def clip_top1(results: Sequence[VideoResult]) -> float | None:
    """Share of views whose label has the highest score; None without views."""
    num_views = sum(result.num_views for result in results)
    return sum(result.views_correct for result in results) / num_views if num_views else None


@dataclass(frozen=True, kw_only=True)
class Metric:
    """A metric: how it is computed, and its names and places in results."""

    title: str
    """Name in reports and docs."""
    column: str
    """Short name, for columns of tables."""
    section: Literal["video", "clip"]
    """Section of `metrics.json`."""
    key: str
    """Name in that section."""
    compute: Callable[[Sequence[VideoResult]], float | None]
    """From the rows of all videos; None if undefined. The first line of its docstring appears in the docs."""
    write: str = "{:.2%}"
    """Format of the value in text."""

    def value(self, metrics: Mapping[str, Any]) -> float | None:
        """The value in the content of a `metrics.json`; None if missing."""
        found: float | None = metrics[self.section].get(self.key)
        return found

    def text(self, metrics: Mapping[str, Any]) -> str:
        """The value as text; empty if missing."""
        value = self.value(metrics)
        return "" if value is None else self.write.format(value)


METRICS: dict[str, Metric] = {
    "top1": Metric(title="video top-1", column="video top-1", section="video", key="top1", compute=video_top1),
    "top5": Metric(title="video top-5", column="video top-5", section="video", key="top5", compute=video_top5),
    "mean_class": Metric(
        title="video mean class accuracy",
        column="mean class",
        section="video",
        key="mean_class",
        compute=mean_class_accuracy,
    ),
    "clip_top1": Metric(title="clip top-1", column="clip top-1", section="clip", key="top1", compute=clip_top1),
}
"""All metrics in the order of reports and tables. A new row appears in `metrics.json`, reports and comparisons."""


def summarise(results: Sequence[VideoResult]) -> dict[str, Any]:
    """Compute all metrics; undecodable videos count as wrong at video level.

    Args:
        results: One row per video.

    Returns:
        `video` and `clip` with their metrics, the interval of top-1, and the numbers of videos and clips; and `by_tag`
        if videos have tags.
    """
    top1 = [result.within(1) for result in results]
    summary: dict[str, Any] = {
        "video": {"top1": None, "top1_interval": wilson_interval(sum(top1), len(top1))},
        "clip": {"top1": None},
    }
    for metric in METRICS.values():
        summary[metric.section][metric.key] = metric.compute(results)
    summary["video"]["num_videos"] = len(results)
    summary["clip"]["num_clips"] = sum(result.num_views for result in results)
    by_tag = _grouped((result.tag, result.within(1)) for result in results if result.tag)
    if by_tag:
        summary["by_tag"] = {
            tag: {"top1": _mean(hits), "num_videos": len(hits)} for tag, hits in sorted(by_tag.items())
        }
    return summary


def confusion(results: Iterable[VideoResult], num_classes: int) -> list[list[int]]:
    """Counts of videos, rows are true classes, columns predicted ones; undecodable videos are not counted."""
    counts = [[0] * num_classes for _ in range(num_classes)]
    for result in results:
        if result.scores:
            counts[result.label][result.ranking[0]] += 1
    return counts


def class_accuracy(results: Iterable[VideoResult]) -> dict[int, tuple[float, int]]:
    """Top-1 and number of videos of every class that has videos."""
    by_class = _grouped((result.label, result.within(1)) for result in results)
    return {label: (_mean(hits), len(hits)) for label, hits in sorted(by_class.items())}


def wilson_interval(successes: int, trials: int) -> tuple[float, float]:
    """95 % interval of a proportion.

    Source: Wilson 1927, Probable inference, the law of succession, and statistical inference.
    """
    from scipy import stats  # takes half a second to import

    if trials == 0:
        return (0.0, 1.0)
    low, high = stats.binomtest(successes, trials).proportion_ci(confidence_level=0.95, method="wilson")
    return float(low), float(high)


def _grouped(pairs: Iterable[tuple[Any, bool]]) -> dict[Any, list[bool]]:
    groups: dict[Any, list[bool]] = defaultdict(list)
    for key, hit in pairs:
        groups[key].append(hit)
    return groups


def _mean(values: Sequence[float] | Sequence[bool]) -> float:
    return sum(values) / len(values) if values else 0.0
