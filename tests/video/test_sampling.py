import pytest
import torch

from t3d.errors import T3DError
from t3d.video.sampling import non_overlapping_clips, random_clip, segment_clips, shuffle_frames, uniform_clips
from t3d.video.spec import ClipSpec


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def test_a_random_clip_starts_wherever_it_fits_and_nowhere_else() -> None:
    spec = ClipSpec(num_frames=3, frame_stride=2)  # spans 5 frames: starts 0 to 5 in a video of 10
    generator = seeded()
    starts = set()
    for _ in range(300):
        clip = random_clip(10, spec, generator)
        assert clip.shape == (1, 3)
        assert (clip.diff() == 2).all()
        starts.add(int(clip[0, 0]))
    assert starts == {0, 1, 2, 3, 4, 5}


def test_random_starts_are_uniform() -> None:
    spec = ClipSpec(num_frames=2)
    generator = seeded()
    starts = torch.tensor([int(random_clip(5, spec, generator)[0, 0]) for _ in range(4000)])
    counts = torch.bincount(starts, minlength=4).double()
    chi_squared = float(((counts - 1000) ** 2 / 1000).sum())
    assert chi_squared < 16.3  # the 0.1 % point for 3 degrees of freedom


def test_a_seed_fixes_the_clip() -> None:
    spec = ClipSpec(num_frames=4)
    assert torch.equal(random_clip(500, spec, seeded(3)), random_clip(500, spec, seeded(3)))
    assert not torch.equal(random_clip(500, spec, seeded(3)), random_clip(500, spec, seeded(4)))


def test_uniform_clips_go_from_the_first_frame_to_the_last() -> None:
    spec = ClipSpec(num_frames=3, frame_stride=2)
    assert uniform_clips(14, spec, 4).tolist() == [[0, 2, 4], [3, 5, 7], [6, 8, 10], [9, 11, 13]]
    assert uniform_clips(7, spec, 2).tolist() == [[0, 2, 4], [2, 4, 6]]
    assert uniform_clips(8, spec, 3)[:, 0].tolist() == [0, 2, 3]  # 1.5 is rounded up
    assert uniform_clips(100, ClipSpec(num_frames=1), 5).flatten().tolist() == [0, 25, 50, 74, 99]


def test_a_single_uniform_clip_is_centred() -> None:
    assert uniform_clips(10, ClipSpec(num_frames=4), 1).tolist() == [[3, 4, 5, 6]]


def test_non_overlapping_clips_drop_the_remainder() -> None:
    assert non_overlapping_clips(11, ClipSpec(num_frames=3)).tolist() == [[0, 1, 2], [3, 4, 5], [6, 7, 8]]
    assert non_overlapping_clips(9, ClipSpec(num_frames=3)).tolist() == [[0, 1, 2], [3, 4, 5], [6, 7, 8]]
    strided = ClipSpec(num_frames=3, frame_stride=2)  # a span of 5
    assert non_overlapping_clips(12, strided).tolist() == [[0, 2, 4], [5, 7, 9]]


@pytest.mark.parametrize(("length", "num_clips"), [(1, 1), (31, 1), (32, 1), (63, 1), (64, 2), (164, 5), (1000, 31)])
def test_the_papers_test_protocol(length: int, num_clips: int) -> None:
    assert len(non_overlapping_clips(length, ClipSpec(num_frames=32))) == num_clips


@pytest.mark.parametrize(("short", "expected"), [("loop", [0, 2, 1, 0, 2]), ("hold", [0, 2, 2, 2, 2])])
def test_what_is_too_short_loops_or_holds(short: str, expected: list[int]) -> None:
    spec = ClipSpec(num_frames=5, frame_stride=2, short=short)
    for clips in (
        random_clip(3, spec, seeded()),
        uniform_clips(3, spec, 1),
        non_overlapping_clips(3, spec),
        segment_clips(3, spec, 1),
    ):
        assert clips.tolist() == [expected]
    assert uniform_clips(3, spec, 2).tolist() == [expected, expected]


def test_stride_16_of_the_paper_loops_through_most_videos() -> None:
    clip = non_overlapping_clips(164, ClipSpec(num_frames=32, frame_stride=16))
    assert clip.tolist() == [[16 * step % 164 for step in range(32)]]


def test_segments_without_a_generator_are_centred() -> None:
    assert segment_clips(30, ClipSpec(num_frames=4), 3).tolist() == [
        [3, 4, 5, 6],
        [13, 14, 15, 16],
        [23, 24, 25, 26],
    ]


def test_segments_with_a_generator_stay_inside_and_reach_everywhere() -> None:
    spec = ClipSpec(num_frames=4)
    generator = seeded()
    starts = torch.stack([segment_clips(30, spec, 3, generator)[:, 0] for _ in range(300)])
    assert [sorted(set(column.tolist())) for column in starts.T] == [
        list(range(7)),  # the last clip of the first segment shows frames 6 to 9
        list(range(10, 17)),
        list(range(20, 27)),
    ]


def test_segments_shorter_than_a_clip_share_out_the_starts() -> None:
    spec = ClipSpec(num_frames=32, frame_stride=2)  # a span of 63 in segments of 60; starts 0 to 117
    assert segment_clips(180, spec, 3)[:, 0].tolist() == [19, 58, 97]  # middles of 0..38, 39..77, 78..117 rounded down
    generator = seeded()
    starts = torch.stack([segment_clips(180, spec, 3, generator)[:, 0] for _ in range(200)])
    assert starts.min() >= 0
    assert starts.max() <= 117
    assert (starts.max(dim=0).values - starts.min(dim=0).values > 25).all()


@pytest.mark.parametrize("length", [*range(1, 40), 333])
@pytest.mark.parametrize("short", ["loop", "hold"])
def test_every_index_is_a_frame_of_the_video(length: int, short: str) -> None:
    spec = ClipSpec(num_frames=5, frame_stride=3, short=short)
    for clips in (
        random_clip(length, spec, seeded()),
        uniform_clips(length, spec, 1),
        uniform_clips(length, spec, 7),
        non_overlapping_clips(length, spec),
        segment_clips(length, spec, 4),
        segment_clips(length, spec, 4, seeded()),
    ):
        assert clips.dtype == torch.int64
        assert clips.min() >= 0
        assert clips.max() < length
        if length >= spec.span:
            assert (clips.diff() == 3).all()


def test_shuffling_permutes_within_each_clip() -> None:
    clips = non_overlapping_clips(64, ClipSpec(num_frames=16))
    shuffled = shuffle_frames(clips, seeded())
    assert torch.equal(shuffled.sort(dim=1).values, clips)
    assert not torch.equal(shuffled, clips)
    assert not torch.equal(shuffled[1] - 16, shuffled[0])  # each clip its own order
    assert torch.equal(shuffled, shuffle_frames(clips, seeded()))


def test_all_orders_are_equally_likely() -> None:
    generator = seeded()
    clips = torch.arange(3).expand(6000, 3)
    codes = shuffle_frames(clips, generator) @ torch.tensor([9, 3, 1])
    counts = codes.unique(return_counts=True)[1].double()
    assert len(counts) == 6
    assert float(((counts - 1000) ** 2 / 1000).sum()) < 20.5  # the 0.1 % point for 5 degrees of freedom


def test_a_video_without_frames_is_refused() -> None:
    spec = ClipSpec()
    for sample in (
        lambda: random_clip(0, spec, seeded()),
        lambda: uniform_clips(0, spec, 2),
        lambda: non_overlapping_clips(0, spec),
        lambda: segment_clips(0, spec, 2),
    ):
        with pytest.raises(T3DError, match="0 frames"):
            sample()
