"""Folders of empty files and small lists: readers look at names, never into a video."""

from collections.abc import Callable, Iterable
from pathlib import Path

import pytest

from t3d.data.samples import Sample, VideoList


@pytest.fixture
def touch(tmp_path: Path) -> Callable[..., Path]:
    """Create empty files below a new folder and return the folder."""

    def create(*names: str, root: str = "root") -> Path:
        for name in names:
            path = tmp_path / root / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.touch()
        return tmp_path / root

    return create


@pytest.fixture
def write(tmp_path: Path) -> Callable[..., Path]:
    """Write a text file, as bytes so that line endings stay, and return its path."""

    def create(name: str, text: str, *, root: str = "root", encoding: str = "utf-8") -> Path:
        path = tmp_path / root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(text.encode(encoding))
        return path

    return create


@pytest.fixture
def video_list() -> Callable[..., VideoList]:
    """A list of (group, label) pairs as videos, named by their place."""

    def create(pairs: Iterable[tuple[str, int]], *, num_labels: int = 2) -> VideoList:
        samples = tuple(
            Sample(name=f"{index}.mp4", path=Path(f"/r/{index}.mp4"), label=label, group=group)
            for index, (group, label) in enumerate(pairs)
        )
        labels = tuple(f"class{number}" for number in range(num_labels))
        return VideoList(samples=samples, labels=labels, root=Path("/r"), format="csv", split="split 1 train")

    return create
