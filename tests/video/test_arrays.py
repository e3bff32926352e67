import numpy as np
import pytest
import torch

from t3d.errors import DecodeError
from t3d.video.reader import ArrayVideo, VideoReader


def counting(length: int = 10) -> torch.Tensor:
    return torch.arange(length, dtype=torch.uint8)[:, None, None, None].expand(-1, 4, 6, 3)


def test_frames_come_in_the_order_asked() -> None:
    with ArrayVideo(counting()) as video:
        assert isinstance(video, VideoReader)
        assert (len(video), video.name, video.fps) == (10, "array", 25.0)
        frames = video.frames([7, 0, 0, 9])
        assert frames.shape == (4, 4, 6, 3)
        assert frames[:, 0, 0, 0].tolist() == [7, 0, 0, 9]
        assert torch.equal(video.frames(torch.tensor([7, 0, 0, 9])), frames)


def test_arrays_that_run_backwards_or_are_read_only() -> None:
    array = np.random.default_rng(0).integers(0, 256, (5, 4, 6, 3), dtype=np.uint8)
    array.flags.writeable = False
    assert np.array_equal(ArrayVideo(array).frames([1])[0].numpy(), array[1])
    assert np.array_equal(ArrayVideo(array[..., ::-1]).frames([1])[0].numpy(), array[1, ..., ::-1])


def test_the_callers_array_is_not_shared_with_frames() -> None:
    pictures = counting().clone()
    ArrayVideo(pictures).frames([3]).fill_(200)
    assert pictures[3].max() == 3


def test_seconds_become_frames() -> None:
    video = ArrayVideo(counting(), fps=10.0)
    assert video.frame_range(None, None) == (0, 10)
    assert video.frame_range(0.3, 0.7) == (3, 7)  # although 0.3 * 10 is a little more than 3
    assert video.frame_range(0.31, 0.69) == (4, 7)
    assert video.frame_range(0.7, 0.3) == (7, 7)


@pytest.mark.parametrize(
    "pictures",
    [
        torch.zeros(2, 4, 6, 3),
        torch.zeros(4, 6, 3, dtype=torch.uint8),
        torch.zeros(2, 3, 4, 6, dtype=torch.uint8),
        torch.zeros(0, 4, 6, 3, dtype=torch.uint8),
    ],
)
def test_what_is_no_video_is_refused(pictures: torch.Tensor) -> None:
    with pytest.raises(DecodeError, match="give uint8 RGB pictures"):
        ArrayVideo(pictures)


@pytest.mark.parametrize("indices", [[10], [-1], []])
def test_frames_that_do_not_exist(indices: list[int]) -> None:
    with pytest.raises(DecodeError, match="array: frame"):
        ArrayVideo(counting()).frames(indices)
