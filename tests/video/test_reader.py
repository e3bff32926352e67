import weakref
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from t3d.errors import DecodeError
from t3d.tensors import FrameIndices
from t3d.video.decode import open_video
from t3d.video.pyav_reader import PyAVVideo
from t3d.video.reader import ArrayVideo, VideoReader, iter_clips
from t3d.video.sampling import non_overlapping_clips, segment_clips, shuffle_frames, sliding_clips, uniform_clips
from t3d.video.spec import ClipSpec


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


CLIPS: dict[str, Callable[[int], FrameIndices]] = {
    "uniform": lambda length: uniform_clips(length, ClipSpec(num_frames=8), 10),
    "uniform, strided": lambda length: uniform_clips(length, ClipSpec(num_frames=8, frame_stride=3), 10),
    "sliding by an odd step over an even stride": lambda length: sliding_clips(
        length, ClipSpec(num_frames=8, frame_stride=2), 3
    ),
    "frame by frame": lambda length: sliding_clips(length, ClipSpec(num_frames=4, frame_stride=4), 1),
    "non-overlapping": lambda length: non_overlapping_clips(length, ClipSpec(num_frames=8)),
    "more frames than are read at once": lambda length: non_overlapping_clips(length, ClipSpec(num_frames=20)),
    "segments": lambda length: segment_clips(length, ClipSpec(num_frames=8), 3, torch.Generator().manual_seed(0)),
    "longer than the video": lambda length: uniform_clips(length, ClipSpec(num_frames=length, frame_stride=2), 3),
    "held": lambda length: uniform_clips(length, ClipSpec(num_frames=length, frame_stride=2, short="hold"), 3),
    "shuffled": lambda length: shuffle_frames(
        sliding_clips(length, ClipSpec(num_frames=8), 2), torch.Generator().manual_seed(0)
    ),
    "not in order": lambda length: sliding_clips(length, ClipSpec(num_frames=8), 5).flip(0),
}


class Counting(ArrayVideo):
    """Frame i is filled with the value i; remembers which were asked for."""

    def __init__(self, length: int) -> None:
        super().__init__(torch.arange(length, dtype=torch.uint8)[:, None, None, None].expand(-1, 4, 4, 3), name="video")
        self.asked: list[int] = []

    def frames(self, indices: Sequence[int] | Tensor) -> Tensor:
        self.asked += [int(index) for index in indices]
        return super().frames(indices)


@pytest.mark.parametrize("kind", CLIPS)
@pytest.mark.parametrize("length", [24, 31, 100])
def test_each_frame_is_decoded_once_in_ascending_order(kind: str, length: int) -> None:
    video, clips = Counting(length), CLIPS[kind](length)
    found = [torch.stack(frames)[:, 0, 0, 0].tolist() for frames in iter_clips(video, clips)]
    assert found == clips.tolist()
    assert video.asked == sorted({index for clip in found for index in clip})


@pytest.mark.parametrize("kind", CLIPS)
@pytest.mark.parametrize("name", ["h264.mp4", "b_frames.avi", "mpeg4.avi"])
def test_files_are_read_from_front_to_back(
    kind: str, name: str, tmp_path: Path, encode: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The frames of a call for each clip, and never a step back: in an AVI file that would cost a new start."""
    codec, settings = ("mpeg4", {"max_b_frames": 2}) if name == "mpeg4.avi" else ("libx264", {"options": {"g": "15"}})
    path = encode(tmp_path / name, codec, **settings)
    clips = CLIPS[kind](60)
    with PyAVVideo(path) as video:
        expected = [video.frames(clip) for clip in clips]
    backwards: list[int] = []
    decode = PyAVVideo._decode_up_to

    def watch(video: PyAVVideo, index: int) -> object:
        if index < video._next:
            backwards.append(index)
        return decode(video, index)

    monkeypatch.setattr(PyAVVideo, "_decode_up_to", watch)
    with PyAVVideo(path) as video:
        for frames, clip in zip(iter_clips(video, clips), expected, strict=True):
            assert torch.equal(torch.stack(frames), clip)
    assert backwards == []


def test_what_is_made_of_a_frame_is_made_once() -> None:
    made: list[int] = []

    def invert(frames: Tensor) -> list[Tensor]:
        made.extend(frames[:, 0, 0, 0].tolist())
        return [255 - frame[0, 0] for frame in frames]

    clips = sliding_clips(30, ClipSpec(num_frames=5), 2)
    found = list(iter_clips(Counting(30), clips, invert))
    assert [torch.stack(looks)[:, 1].tolist() for looks in found] == (255 - clips).tolist()
    assert made == sorted(set(clips.flatten().tolist()))


def test_no_more_is_held_than_the_span_of_a_clip() -> None:
    """Of 250 frames, those of one clip and of one call, however far the clips go."""
    alive: set[int] = set()
    most = 0

    def prepare(frames: Tensor) -> list[Tensor]:
        looks = []
        for frame in frames:
            index = int(frame[0, 0, 0])
            looks.append(frame.clone())
            alive.add(index)
            weakref.finalize(looks[-1], alive.discard, index)
        return looks

    spec = ClipSpec(num_frames=8, frame_stride=3)
    for _ in iter_clips(Counting(250), sliding_clips(250, spec, 1), prepare):
        most = max(most, len(alive))
    assert spec.span == 22
    assert most <= spec.span + 1  # and what the loop has just been given


def test_clips_come_as_soon_as_they_are_whole() -> None:
    """What lies before a damaged frame can be had."""

    class Damaged(Counting):
        def frames(self, indices: Sequence[int] | Tensor) -> Tensor:
            if max(int(index) for index in indices) >= 12:
                raise DecodeError("video: frame 12 is damaged")
            return super().frames(indices)

    clips = iter_clips(Damaged(30), non_overlapping_clips(30, ClipSpec(num_frames=5)))
    assert [next(clips)[0][0, 0, 0].item() for _ in range(2)] == [0, 5]
    with pytest.raises(DecodeError, match="frame 12 is damaged"):
        next(clips)


class TwoSizes(ArrayVideo):
    """Pictures from frame 20 on are wider."""

    def frames(self, indices: Sequence[int] | Tensor) -> Tensor:
        pictures = [torch.zeros(4, 8 if int(index) >= 20 else 4, 3, dtype=torch.uint8) for index in indices]
        if len({picture.shape for picture in pictures}) > 1:
            raise DecodeError("within a call")
        return torch.stack(pictures)


def test_a_size_may_change_between_clips_but_not_within_one() -> None:
    """Frames 4 to 19 are one call, frames 20 to 23 the next; a video of two sizes, but clips of one, is fine."""
    video = TwoSizes(torch.zeros(40, 4, 4, 3, dtype=torch.uint8), name="video")
    assert len(list(iter_clips(video, torch.arange(40).view(2, 20)))) == 2
    with pytest.raises(DecodeError, match="video: the size of the picture changes in mid-video; re-encode it"):
        list(iter_clips(video, torch.arange(4, 24)[None]))


def test_real_videos_in_one_pass(shared_data: Path) -> None:
    paths = [sorted(shared_data.glob(name))[0] for name in ("ucf101_sample/**/*.avi", "weizmann4/**/*.mp4")]
    for path in paths:
        with open_video(path) as video, open_video(path) as other:
            for clips in (
                uniform_clips(len(video), ClipSpec(num_frames=8, frame_stride=4), 5),
                sliding_clips(min(len(video), 60), ClipSpec(num_frames=8, frame_stride=2), 5),
            ):
                for frames, clip in zip(iter_clips(video, clips), clips, strict=True):
                    assert torch.equal(torch.stack(frames), other.frames(clip))
