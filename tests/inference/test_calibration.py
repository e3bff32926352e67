from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from t3d.data.clips import ClipKey, TrainClips
from t3d.data.samples import VideoList
from t3d.errors import DataError
from t3d.inference.calibration import TrainingClips, draw_training_clips
from t3d.models.checkpoints import ModelCard
from toys import noise_video

Drawing = Callable[..., TrainingClips]


@pytest.fixture
def drawing(videos: Callable[..., VideoList], card: ModelCard, monkeypatch: pytest.MonkeyPatch) -> Drawing:
    """Draw clips of so many videos; each clip names its video and its start in it. Those of `broken` fail."""

    def draw(num_videos: int, *, broken: tuple[int, ...] = (), **counts: int) -> TrainingClips:
        def clip_of(_: TrainClips, key: ClipKey) -> tuple[Tensor, int] | str:
            if key.video in broken:
                return f"{key.video}.mp4: truncated"
            return torch.tensor([key.video, key.epoch], dtype=torch.uint8).view(2, 1, 1, 1), 0

        monkeypatch.setattr(TrainClips, "__getitem__", clip_of)
        listed = videos([f"{index}.mp4" for index in range(num_videos)])
        return draw_training_clips(listed, card, source=noise_video, **counts)

    return draw


def _told(clips: Tensor | None) -> list[tuple[int, int]]:
    assert clips is not None
    return [(video, start) for video, start in clips.flatten(1).tolist()]


@pytest.mark.parametrize(
    ("num_videos", "num_aside"), [(2, 1), (4, 1), (20, 4), (160, 32), (200, 32)], ids=lambda value: str(value)
)
def test_no_video_is_both_fitted_to_and_compared_on(num_videos: int, num_aside: int, drawing: Drawing) -> None:
    """Of 160 clips a fifth is compared on, and so a fifth of the videos is set aside."""
    clips = drawing(num_videos, compared=32, fitted=128)
    compared, fitted = _told(clips.compared), _told(clips.fitted)
    videos = {video for video, _ in compared}
    assert clips.apart
    assert len(videos) == num_aside
    assert videos.isdisjoint(video for video, _ in fitted)
    assert len(set(compared)) == 32
    assert len(set(fitted)) == 128


def test_a_single_video_gives_both_from_other_starts(drawing: Drawing) -> None:
    clips = drawing(1, compared=3, fitted=4)
    assert not clips.apart
    assert _told(clips.compared) == [(0, 0), (0, 1), (0, 2)]
    assert _told(clips.fitted) == [(0, 3), (0, 4), (0, 5), (0, 6)]


def test_without_fitting_all_videos_are_compared_on(drawing: Drawing) -> None:
    clips = drawing(5, compared=10, fitted=0)
    assert clips.fitted is None
    assert sorted(_told(clips.compared)) == [(video, start) for video in range(5) for start in range(2)]


def test_videos_that_cannot_be_decoded_give_none(drawing: Drawing) -> None:
    assert {video for video, _ in _told(drawing(4, broken=(1, 2), compared=8, fitted=0).compared)} == {0, 3}
    with pytest.raises(DataError, match=r"none of 8 training clips can be decoded; repair the videos, first: \d.mp4"):
        drawing(2, broken=(0, 1), compared=8, fitted=0)
