import csv
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from PIL import Image

from t3d.data.samples import Sample
from t3d.evaluation.timeline import write_timeline
from t3d.inference.scoring import VideoScores
from t3d.video.decode import open_video

LABELS = ("clap", "run")
SCORES = torch.tensor([[0.75, 0.25], [0.25, 0.75]])


@pytest.fixture
def scored(make_video: Callable[..., Path]) -> VideoScores:
    """Twenty-two frames at 10 a second: clips 0-9 and 10-19, then two frames more."""
    path = make_video(length=22, size=(48, 64), fps=10.0)
    sample = Sample(name="v", path=path, label=-1, group="v")
    return VideoScores(sample=sample, parts=[SCORES], frames=[(0, 9), (10, 19)], fps=10.0, num_clips=2)


def test_a_row_a_clip(scored: VideoScores, tmp_path: Path) -> None:
    files = write_timeline(tmp_path / "out", "video.mp4", video=scored, labels=LABELS, top=5)
    assert [file.name for file in files] == [
        *("video.mp4.timeline.csv", "video.mp4.timeline.png", "video.mp4.annotated.mp4"),
    ]
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == sorted(file.name for file in files)
    with files[0].open() as file:
        assert list(csv.reader(file)) == [
            ["start_seconds", "end_seconds", "predicted", "score:clap", "score:run"],
            ["0.000", "1.000", "clap", "0.75", "0.25"],
            ["1.000", "2.000", "run", "0.25", "0.75"],
        ]
    with Image.open(files[1]) as picture:
        assert picture.format == "PNG"


def test_crops_of_a_clip_are_averaged(scored: VideoScores, tmp_path: Path) -> None:
    scored.parts = [torch.tensor([[1.0, 0.0], [0.5, 0.5], [0.75, 0.25]]), torch.tensor([[0.0, 1.0]] * 3)]
    files = write_timeline(tmp_path, "v", video=scored, labels=LABELS, top=1)
    with files[0].open() as file:
        assert [row[3:] for row in csv.reader(file)][1:] == [["0.75", "0.25"], ["0.0", "1.0"]]


def test_the_copy_has_all_frames_and_the_caption_of_each_clip(scored: VideoScores, tmp_path: Path) -> None:
    files = write_timeline(tmp_path, "v", video=scored, labels=LABELS, top=5)
    with open_video(scored.sample.path) as original, open_video(files[2]) as copy:
        assert len(copy) == len(original) == 22
        assert copy.fps == original.fps
        before, after = (video.frames(range(22)).float() for video in (original, copy))
    before = before.repeat_interleave(4, dim=1).repeat_interleave(4, dim=2)  # 48 pixels are too few to read
    assert after.shape == before.shape == (22, 192, 256, 3)
    below = (after[:, 24:] - before[:, 24:]).abs().mean(dim=(1, 2, 3))
    assert below.max() < 3  # untouched but for compression
    corner = (after[:, :12, :24] - before[:, :12, :24]).abs().mean(dim=(1, 2, 3))
    assert corner[6:].min() > 10  # the first frames are dark, as is the caption's ground
    text = after[:, :12].amax(dim=(1, 2, 3))
    assert text.min() > 120  # white letters on black
    change = (after[1:, :12] - after[:-1, :12]).abs().amax(dim=(1, 2, 3))
    assert int(change.argmax()) == 9  # "clap  75%" gives way to "run  75%" between frames 9 and 10


def test_a_picture_large_enough_keeps_its_size(make_video: Callable[..., Path], tmp_path: Path) -> None:
    path = make_video(length=4, size=(200, 210))
    sample = Sample(name="v", path=path, label=-1, group="v")
    scored = VideoScores(sample=sample, parts=[SCORES[:1]], frames=[(0, 3)], fps=25.0, num_clips=1)
    files = write_timeline(tmp_path, "v", video=scored, labels=LABELS, top=1)
    with open_video(files[2]) as copy:
        assert copy.frames([0]).shape == (1, 200, 210, 3)
