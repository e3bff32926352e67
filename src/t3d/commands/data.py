"""Show the contents of a dataset, and optionally decode its videos."""

from collections import Counter
from dataclasses import dataclass

from rich.console import Console
from rich.progress import track
from rich.table import Table

from t3d.commands._console import console, warn
from t3d.commands._datasets import find_videos
from t3d.config import DataConfig
from t3d.data.samples import NoSuchSubsetError, Subset, VideoList
from t3d.data.splits import check_disjoint
from t3d.errors import DataError, DecodeError

SUBSETS: tuple[Subset, ...] = ("train", "validation", "test")


@dataclass(frozen=True, kw_only=True)
class DataSummary:
    """The lists of one split, and the videos that cannot be decoded."""

    lists: dict[str, VideoList]
    failures: tuple[str, ...]


def run(config: DataConfig) -> DataSummary:
    """Read the lists of a split; with `--decode`, also decode their videos."""
    lists: dict[str, VideoList] = {}
    for subset in SUBSETS:
        try:
            lists[subset] = find_videos(config.data, subset=subset, split=config.split, format=config.format)
        except NoSuchSubsetError:
            if subset == "train":
                raise
    for line in dict.fromkeys(line for videos in lists.values() for line in videos.warnings):
        warn(line)
    failures = _decode_all(lists) if config.decode else ()
    return DataSummary(lists=lists, failures=tuple(failures))


def show(summary: DataSummary, config: DataConfig) -> int:
    """Print one row per class and totals; exit code 1 if videos fail or groups are shared."""
    table = Table("class", *summary.lists, title=str(config.data))
    counts = {name: Counter(sample.label for sample in videos.samples) for name, videos in summary.lists.items()}
    labels = next(iter(summary.lists.values())).labels
    for label, name in enumerate(labels):
        table.add_row(name, *(str(count[label]) for count in counts.values()))
    table.add_section()
    table.add_row("videos", *(str(len(videos.samples)) for videos in summary.lists.values()))
    table.add_row("groups", *(str(len({s.group for s in videos.samples})) for videos in summary.lists.values()))
    table.add_row("missing", *(str(len(videos.missing)) for videos in summary.lists.values()))
    Console().print(table)
    for videos in summary.lists.values():
        print(f"{videos.format}: {videos.split}")
    for failure in summary.failures:
        print(f"cannot be decoded: {failure}")
    return int(bool(summary.failures) or _shares_groups(summary))


def _decode_all(lists: dict[str, VideoList]) -> list[str]:
    from t3d.data.clips import frames_of  # the lists alone need no PyTorch
    from t3d.video.decode import open_video
    from t3d.video.reader import FRAMES_AT_ONCE

    failures = []
    samples = [sample for videos in lists.values() for sample in videos.samples]
    for sample in track(samples, description="decoding", console=console, transient=True):
        try:
            with open_video(sample.path) as video:
                first, last = frames_of(video, sample)
                for start in range(first, last, FRAMES_AT_ONCE):
                    video.frames(range(start, min(start + FRAMES_AT_ONCE, last)))
        except DecodeError as error:
            failures.append(str(error))
    return failures


def _shares_groups(summary: DataSummary) -> bool:
    if not {"train", "test"} <= set(summary.lists):
        return False
    try:
        check_disjoint(summary.lists["train"], summary.lists["test"])
    except DataError as error:
        warn(str(error))
        return True
    return False
