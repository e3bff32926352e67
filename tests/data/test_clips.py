"""Videos here are fakes whose frame i is filled with i, so that a clip names its own frames."""

from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.utils.data import DataLoader

from t3d.data.clips import (
    ClipKey,
    EpochSampler,
    ScoringClip,
    ScoringClips,
    TrainBatch,
    TrainClips,
    collate_train,
    seeded,
)
from t3d.data.samples import Sample
from t3d.errors import DecodeError
from t3d.video.decode import open_video
from t3d.video.reader import ArrayVideo
from t3d.video.spec import AugmentSpec, ClipSpec, PixelSpec, ViewSpec

PIXELS = PixelSpec(resize=8, crop_size=8)
PLAIN = AugmentSpec(crop="centre", flip_probability=0.0)


class Numbered(ArrayVideo):
    """Frame i is filled with the value i; frames from `damaged` on cannot be decoded."""

    def __init__(self, path: Path, *, length: int, width: int = 8, damaged: int = 1000) -> None:
        values = torch.arange(length, dtype=torch.uint8)[:, None, None, None]
        super().__init__(values.expand(-1, 8, width, 3), name=str(path), fps=10.0)
        self.damaged = damaged

    def frames(self, indices: Sequence[int] | Tensor) -> Tensor:
        if max(int(index) for index in indices) >= self.damaged:
            raise DecodeError(f"{self.name}: frame {self.damaged} is damaged")
        return super().frames(indices)


def open_numbered(path: Path) -> Numbered:
    """`<length>-<anything>`: a video so long; `bad` cannot be opened, `late` breaks at frame 6, `wide` is wider."""
    if "bad" in path.name:
        raise DecodeError(f"{path}: no video in this file")
    return Numbered(
        path,
        length=int(path.name.split("-")[0]),
        width=16 if "wide" in path.name else 8,
        damaged=6 if "late" in path.name else 1000,
    )


def _samples(*names: str, start: float | None = None, end: float | None = None) -> list[Sample]:
    return [
        Sample(name=name, path=Path(name), label=index, group=name, start_seconds=start, end_seconds=end)
        for index, name in enumerate(names)
    ]


def _train(samples: Sequence[Sample], *, seed: int = 0, **clip: object) -> TrainClips:
    spec = ClipSpec(**{"num_frames": 4, **clip})
    return TrainClips(samples, clip=spec, pixels=PIXELS, augment=PLAIN, open_video=open_numbered, seed=seed)


def _frames(clips: TrainClips, epoch: int = 0, video: int = 0) -> list[int]:
    item = clips[ClipKey(epoch, video)]
    assert not isinstance(item, str)
    return item[0][0, :, 0, 0].tolist()


def test_a_training_clip_is_consecutive_frames_and_the_label() -> None:
    clips = _train(_samples("50-a", "60-b"), frame_stride=3)
    clip, label = clips[ClipKey(0, 1)]
    assert (clip.shape, clip.dtype, label) == ((3, 4, 8, 8), torch.uint8, 1)
    first = int(clip[0, 0, 0, 0])
    assert clip[2, :, 7, 7].tolist() == [first, first + 3, first + 6, first + 9]
    assert len(clips) == 2


def test_a_training_clip_depends_on_seed_epoch_and_video_only() -> None:
    names = _samples("200-a", "200-b", "200-c")
    clips = _train(names)
    expected = [_frames(clips, 2, video) for video in range(3)]
    assert [_frames(_train(names), 2, video) for video in (2, 1, 0)] == expected[::-1]  # whatever was read before
    starts = {
        (seed, epoch, video): _frames(_train(names, seed=seed), epoch, video)[0]
        for seed in range(3)
        for epoch in range(3)
        for video in range(3)
    }
    assert len(set(starts.values())) > 20  # of 27, all may be equal by chance with 197 starts


@pytest.mark.parametrize("num_workers", [1, 2])
def test_workers_do_not_change_the_batches(num_workers: int) -> None:
    names = [f"{30 + number}-x" for number in range(7)]
    sampler = EpochSampler(7, batch_size=3, seed=1)
    batches: list[list[TrainBatch]] = []
    for workers in (0, num_workers):
        augment = AugmentSpec(scales=(1.0, 0.8), brightness=0.3, hue=0.1)
        clips = TrainClips(
            _samples(*names),
            clip=ClipSpec(num_frames=4, order="shuffled"),
            pixels=PIXELS,
            augment=augment,
            open_video=open_numbered,
            seed=1,
        )
        loader = DataLoader(clips, batch_size=3, sampler=sampler, num_workers=workers, collate_fn=collate_train)
        batches.append([])
        for epoch in range(2):
            sampler.start(epoch)
            batches[-1] += list(loader)
    assert len(batches[0]) == 6
    for one, other in zip(*batches, strict=True):
        assert torch.equal(one.clips, other.clips)
        assert torch.equal(one.labels, other.labels)
    assert not torch.equal(batches[0][0].clips, batches[0][3].clips)


def test_seconds_restrict_training_frames() -> None:
    """Ten frames a second: seconds 2 to 3 are frames 20 to 29."""
    clips = _train(_samples("100-a", start=2.0, end=3.0))
    seen = {frame for epoch in range(60) for frame in _frames(clips, epoch)}
    assert seen == set(range(20, 30))


def test_a_piece_shorter_than_a_clip_repeats_itself_only() -> None:
    assert _frames(_train(_samples("100-a", start=2.0, end=2.3))) == [20, 21, 22, 20]
    assert _frames(_train(_samples("100-a", start=2.0, end=2.3), short="hold")) == [20, 21, 22, 22]


def test_a_shuffled_clip_permutes_the_same_frames() -> None:
    shuffled, plain = (_train(_samples("200-a"), num_frames=12, order=order) for order in ("shuffled", "forward"))
    for epoch in range(3):
        assert _frames(shuffled, epoch) != _frames(plain, epoch)
        assert sorted(_frames(shuffled, epoch)) == _frames(plain, epoch)


@pytest.mark.parametrize(
    ("sample", "message"),
    [
        (_samples("bad")[0], "bad: no video in this file"),
        (_samples("20-late", start=1.0)[0], "20-late: frame 6 is damaged"),
        (
            _samples("20-a", start=5.0)[0],
            "20-a: no frame lies between 5.0 and None seconds; correct them in the list",
        ),
        (
            _samples("20-a", start=1.0, end=1.0)[0],
            "20-a: no frame lies between 1.0 and 1.0 seconds; correct them in the list",
        ),
    ],
)
def test_an_undecodable_video_gives_its_error(sample: Sample, message: str) -> None:
    assert _train([sample])[ClipKey(0, 0)] == message
    assert [chunk.error for chunk in _scoring([sample])] == [message]


def test_a_video_is_closed_even_after_an_error() -> None:
    opened: list[Any] = []

    class Watched(Numbered):
        closed = False

        def close(self) -> None:
            self.closed = True

    def watch(path: Path) -> Numbered:
        opened.append(Watched(path, length=20, damaged=0))
        return opened[-1]

    clips = TrainClips(
        _samples("20-a"), clip=ClipSpec(num_frames=4), pixels=PIXELS, augment=PLAIN, open_video=watch, seed=0
    )
    assert clips[ClipKey(0, 0)] == "20-a: frame 0 is damaged"
    assert opened[0].closed


def _segmented(name: str, *, segments: int = 3, seed: int = 0, **options: object) -> TrainClips:
    settings = {"clip": ClipSpec(num_frames=4), "augment": PLAIN, "open_video": open_numbered, **options}
    return TrainClips(_samples(name), pixels=PIXELS, seed=seed, segments=segments, **settings)


def _starts(clips: TrainClips, epoch: int) -> list[int]:
    item = clips[ClipKey(epoch, 0)]
    assert not isinstance(item, str)
    return item[0][:, 0, 0, 0, 0].tolist()


def test_segments_give_a_clip_each() -> None:
    """Segments of frames 0-9, 10-19 and 20-29, in each of which a clip of four has seven starts."""
    clips = _segmented("30-a")
    views, label = clips[ClipKey(0, 0)]
    assert (views.shape, views.dtype, label) == ((3, 3, 4, 8, 8), torch.uint8, 0)
    assert (views[:, 0, :, 0, 0] - views[:, 0, :1, 0, 0]).tolist() == [[0, 1, 2, 3]] * 3
    drawn = [_starts(clips, epoch) for epoch in range(200)]
    for number, starts in enumerate(zip(*drawn, strict=True)):
        assert set(starts) == set(range(10 * number, 10 * number + 7))
    assert [_starts(_segmented("30-a"), epoch) for epoch in range(5)] == drawn[:5]
    assert [_starts(_segmented("30-a", seed=1), epoch) for epoch in range(5)] != drawn[:5]


def test_segments_of_a_video_are_looked_at_alike() -> None:
    """Every frame is the same picture, so that only the look could tell segments apart."""
    picture = torch.randint(256, (16, 20, 3), generator=torch.Generator().manual_seed(0), dtype=torch.uint8)
    augment = AugmentSpec(crop="random", scales=(1.0, 0.7), brightness=0.3, contrast=0.3, saturation=0.3, hue=0.2)
    clips = _segmented(
        "still",
        augment=augment,
        clip=ClipSpec(num_frames=4, order="shuffled"),
        open_video=lambda path: ArrayVideo(picture.expand(30, -1, -1, -1)),
    )
    looks = [clips[ClipKey(epoch, 0)][0] for epoch in range(5)]
    for views in looks:
        assert torch.equal(views, views[:1].expand_as(views))
    assert len({views.numpy().tobytes() for views in looks}) == 5


def test_an_undecodable_segment_is_an_undecodable_video() -> None:
    assert _segmented("30-late")[ClipKey(0, 0)] == "30-late: frame 6 is damaged"


def test_videos_of_segments_are_stacked() -> None:
    clips = _segmented("30-a")
    batch = collate_train([clips[ClipKey(0, 0)], "x: truncated", clips[ClipKey(1, 0)]])
    assert batch.clips.shape == (2, 3, 3, 4, 8, 8)
    assert (batch.num_clips, batch.failures) == (2, ["x: truncated"])


def test_collation_stacks_the_good_and_names_the_bad() -> None:
    clip = torch.ones(3, 4, 8, 8, dtype=torch.uint8)
    batch = collate_train([(clip, 2), "x: truncated", (2 * clip, 0)])
    assert torch.equal(batch.clips, torch.stack([clip, 2 * clip]))
    assert batch.labels.tolist() == [2, 0]
    assert batch.failures == ["x: truncated"]


def test_collation_of_nothing_good_is_empty() -> None:
    batch = collate_train(["x: truncated"])
    assert (len(batch.clips), batch.labels.dtype, len(batch.labels)) == (0, torch.int64, 0)


def _order(sampler: EpochSampler) -> list[int]:
    return [key.video for key in sampler]


def test_every_epoch_is_another_permutation() -> None:
    sampler = EpochSampler(50, batch_size=4, seed=0)
    orders = []
    for epoch in range(3):
        sampler.start(epoch)
        assert {key.epoch for key in sampler} == {epoch}
        orders.append(_order(sampler))
        assert sorted(orders[-1]) == list(range(50))
    assert orders[0] != orders[1] != orders[2] != orders[0]
    sampler.start(1)
    assert _order(sampler) == orders[1]
    assert _order(EpochSampler(50, batch_size=4, seed=1)) != orders[0]


@pytest.mark.parametrize("skip", [0, 1, 5, 12])
def test_a_resumed_epoch_is_the_rest_of_it(skip: int) -> None:
    sampler = EpochSampler(50, batch_size=4, seed=0)
    sampler.start(3)
    whole = _order(sampler)
    sampler.start(3, skip_batches=skip)
    assert _order(sampler) == whole[4 * skip :]
    assert len(sampler) == 50 - 4 * skip


def test_an_epoch_of_one_small_batch_can_be_over() -> None:
    sampler = EpochSampler(3, batch_size=4, seed=0)
    sampler.start(0, skip_batches=1)
    assert (_order(sampler), len(sampler)) == ([], 0)


@pytest.mark.parametrize(("num_samples", "world_size"), [(12, 3), (14, 4), (5, 5), (7, 2)])
def test_processes_share_without_overlap(num_samples: int, world_size: int) -> None:
    samplers = [
        EpochSampler(num_samples, batch_size=1, seed=0, rank=rank, world_size=world_size) for rank in range(world_size)
    ]
    shares = [_order(sampler) for sampler in samplers]
    assert [len(share) for share in shares] == [num_samples // world_size] * world_size == [len(s) for s in samplers]
    everything = [video for share in shares for video in share]
    assert len(set(everything)) == len(everything) > num_samples - world_size


def test_who_waits_changes_with_the_epoch() -> None:
    waiting = set()
    for epoch in range(20):
        samplers = [EpochSampler(5, batch_size=1, seed=0, rank=rank, world_size=2) for rank in range(2)]
        for sampler in samplers:
            sampler.start(epoch)
        waiting |= set(range(5)) - {video for sampler in samplers for video in _order(sampler)}
    assert waiting == set(range(5))


def test_weights_draw_rare_classes_as_often() -> None:
    """One video of a rare class among nine: weight 9 draws it half the time; binomial, five deviations allowed."""
    weights = torch.tensor([9.0, *[1.0] * 9])
    drawn: Counter[int] = Counter()
    sampler = EpochSampler(10, batch_size=2, seed=0, weights=weights)
    for epoch in range(100):
        sampler.start(epoch)
        drawn.update(_order(sampler))
    assert drawn.total() == 1000
    assert abs(drawn[0] - 500) < 5 * (1000 * 0.5 * 0.5) ** 0.5
    assert set(drawn) == set(range(10))


def test_a_weight_of_zero_is_never_drawn() -> None:
    assert set(_order(EpochSampler(50, batch_size=1, seed=0, weights=torch.tensor([0.0, *[1.0] * 49])))) <= set(
        range(1, 50)
    )


def _scoring(samples: Sequence[Sample], **options: object) -> list[ScoringClip]:
    clip = options.pop("clip", ClipSpec(num_frames=4))
    views = ViewSpec(**options)
    return list(ScoringClips(samples, clip=clip, pixels=PIXELS, views=views, open_video=open_numbered))


def _ends(samples: Sequence[Sample], **views: object) -> list[tuple[int, int]]:
    return [clip.frames for clip in _scoring(samples, **views)]


def test_frames_that_clips_share_are_read_once() -> None:
    """Twelve frames: training segments of four lie on top of each other, and so do clips two frames apart."""
    asked: list[int] = []

    class Watched(Numbered):
        def frames(self, indices: Sequence[int] | Tensor) -> Tensor:
            asked.extend(int(index) for index in indices)
            return super().frames(indices)

    def watch(path: Path) -> Numbered:
        return Watched(path, length=12)

    clips = _segmented("12-a", segments=6, open_video=watch, clip=ClipSpec(num_frames=4, order="shuffled"))
    views, _ = clips[ClipKey(0, 0)]
    assert asked == sorted(set(views[:, 0, :, 0, 0].flatten().tolist()))
    asked.clear()
    scored = ScoringClips(
        _samples("12-a"), clip=ClipSpec(num_frames=4), pixels=PIXELS, views=ViewSpec(step=2), open_video=watch
    )
    assert [clip.views[0, 0, :, 0, 0].tolist() for clip in scored] == [
        [s, s + 1, s + 2, s + 3] for s in (0, 2, 4, 6, 8)
    ]
    assert asked == list(range(12))


def test_all_clips_of_all_videos_come_once_in_order() -> None:
    """Videos of 22, 3 and 9 frames make 5, 1 and 2 clips of 4."""
    clips = _scoring(_samples("22-a", "3-b", "9-c"))
    starts = [0, 4, 8, 12, 16]
    assert [(clip.index, clip.num_clips, clip.frames) for clip in clips] == [
        *((0, 5, (start, start + 3)) for start in starts),
        (1, 1, (0, 2)),
        (2, 2, (0, 3)),
        (2, 2, (4, 7)),
    ]
    assert {clip.views.shape for clip in clips} == {(1, 3, 4, 8, 8)}
    assert [clip.views[0, 0, :, 0, 0].tolist() for clip in clips] == [
        *([start, start + 1, start + 2, start + 3] for start in starts),
        [0, 1, 2, 0],
        [0, 1, 2, 3],
        [4, 5, 6, 7],
    ]
    assert {clip.fps for clip in clips} == {10.0}


def test_evenly_spaced_clips() -> None:
    assert _ends(_samples("14-a"), clips=3) == [(0, 3), (5, 8), (10, 13)]
    assert _ends(_samples("14-a"), clips=1) == [(5, 8)]


def test_segments_are_scored_by_their_centred_clips() -> None:
    """Frames 0-6, 7-13 and 14-21."""
    assert _ends(_samples("22-a"), segments=3) == [(1, 4), (8, 11), (16, 19)]
    for length in (3, 4, 9, 14):
        assert _ends(_samples(f"{length}-a"), segments=1) == _ends(_samples(f"{length}-a"), clips=1)


def test_clips_a_step_apart_overlap_to_the_last_that_fits() -> None:
    assert _ends(_samples("11-a"), step=3) == [(0, 3), (3, 6), (6, 9)]


def test_seconds_restrict_scored_frames() -> None:
    assert _ends(_samples("100-a", start=2.0, end=3.0)) == [(20, 23), (24, 27)]


def test_three_crops_stand_side_by_side() -> None:
    """Pictures whose columns tell which crop they are in."""
    columns = torch.arange(16, dtype=torch.uint8).expand(9, 8, 16)
    pictures = (columns + 16 * torch.arange(9, dtype=torch.uint8)[:, None, None])[..., None].expand(-1, -1, -1, 3)
    clips = ScoringClips(
        _samples("wide"),
        clip=ClipSpec(num_frames=4),
        pixels=PIXELS,
        views=ViewSpec(crops=3),
        open_video=lambda path: ArrayVideo(pictures),
    )
    for clip, start in zip(clips, (0, 4), strict=True):
        assert clip.views.shape == (3, 3, 4, 8, 8)
        corners = [[left + 16 * (start + time) for time in range(4)] for left in (0, 4, 8)]
        assert clip.views[:, 2, :, 5, 0].tolist() == corners
        assert torch.equal(clip.views[..., 1:], clip.views[..., :-1] + 1)


def test_an_error_in_the_middle_ends_the_video_and_not_the_list() -> None:
    clips = _scoring(_samples("8-a", "20-late", "bad", "8-b"))
    assert [(clip.index, clip.error) for clip in clips] == [
        (0, ""),
        (0, ""),
        (1, ""),  # frames 0 to 3 were fine
        (1, "20-late: frame 6 is damaged"),
        (2, "bad: no video in this file"),
        (3, ""),
        (3, ""),
    ]
    assert [clip.views is None for clip in clips] == [bool(clip.error) for clip in clips]


def test_workers_share_videos_out_by_turns() -> None:
    samples = _samples("8-a", "20-late", "8-b", "12-c", "bad")
    clips = ScoringClips(
        samples, clip=ClipSpec(num_frames=4), pixels=PIXELS, views=ViewSpec(), open_video=open_numbered
    )
    alone = list(clips)
    shared = list(DataLoader(clips, batch_size=None, num_workers=2))
    for index in range(len(samples)):
        one, other = ([clip for clip in group if clip.index == index] for group in (alone, shared))
        assert [(c.frames, c.error, c.num_clips) for c in one] == [(c.frames, c.error, c.num_clips) for c in other]
        assert all(a.views is None or torch.equal(a.views, b.views) for a, b in zip(one, other, strict=True))


def test_scored_shuffling_depends_on_the_files_name_only() -> None:
    spec = ClipSpec(num_frames=8, order="shuffled")

    def shown(*names: str) -> list[list[int]]:
        return [clip.views[0, 0, :, 0, 0].tolist() for clip in _scoring(_samples(*names), clip=spec)]

    first, second, other = shown("16-a", "8-b")
    assert sorted(first) == list(range(8))
    assert sorted(second) == list(range(8, 16))
    assert [value - 8 for value in second] != first  # each clip is permuted in its own way
    assert shown("8-b", "16-a") == [other, first, second]
    assert shown("folder/16-a") == [first, second]


def test_seeds_do_not_collide() -> None:
    draws = {
        float(torch.rand((), generator=seeded(seed, epoch, index), dtype=torch.float64))
        for seed in range(5)
        for epoch in range(-1, 5)
        for index in range(-1, 20)
    }
    assert len(draws) == 5 * 6 * 21


def test_huge_seeds_are_fine() -> None:
    assert seeded(2**62, 10**6, 10**6).initial_seed() < 2**63


@pytest.fixture
def real_video(make_video: Callable[..., Path]) -> Path:
    return make_video(length=20)


def test_a_real_file_is_read(real_video: Path) -> None:
    sample = Sample(name="v", path=real_video, label=0, group="v")
    spec = ClipSpec(num_frames=4, frame_stride=5)
    (clip,) = ScoringClips([sample], clip=spec, pixels=PIXELS, views=ViewSpec(), open_video=open_video)
    levels = clip.views[0, 0, :, 4, 4].float()
    expected = torch.linspace(20, 235, 20)[[0, 5, 10, 15]]
    torch.testing.assert_close(levels, expected, atol=3.0, rtol=0.0)
