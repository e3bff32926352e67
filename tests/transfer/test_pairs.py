"""Every picture says which video it is of (red) and which frame (green), so that all name themselves."""

from collections.abc import Sequence
from pathlib import Path

import pytest
import torch
from torch import Tensor
from torch.utils.data import DataLoader

from t3d.data.clips import ClipKey
from t3d.data.samples import UNLABELLED, Sample
from t3d.errors import DecodeError
from t3d.transfer.pairs import LEFT_OUT, LivePictures, Pair, PairClips, Place, collate_pairs
from t3d.video.reader import ArrayVideo
from t3d.video.spec import AugmentSpec, ClipSpec, PixelSpec

CLIP = ClipSpec(num_frames=4, frame_stride=2)  # a span of 7
PIXELS = PixelSpec(resize=8, crop_size=8)
LENGTHS = {1: 40, 2: 30, 3: 20, 4: 9, 5: 3}
EPOCHS = 40


def _open(path: Path) -> ArrayVideo:
    """Video `N.mp4` at 10 frames a second."""
    if not path.stem.isdigit():
        raise DecodeError(f"{path}: truncated")
    number = int(path.stem)
    pictures = torch.zeros(LENGTHS[number], 8, 8, 3, dtype=torch.uint8)
    pictures[..., 0] = number
    pictures[..., 1] = torch.arange(LENGTHS[number], dtype=torch.uint8)[:, None, None]
    return ArrayVideo(pictures, name=path.name, fps=10.0)


def _place(video: int | str, start: int | None = None, *, piece: tuple[float, float] | None = None) -> Place:
    name = f"{video}.mp4" if piece is None else f"{video}.mp4#{piece[0]}-{piece[1]}"
    first, last = piece or (None, None)
    sample = Sample(
        name=name,
        path=Path(f"{video}.mp4"),
        label=UNLABELLED,
        group=str(video),
        start_seconds=first,
        end_seconds=last,
    )
    return Place(sample=sample, start=start)


# Groups of one, three and two places; the teacher_views of a place are its number and its video's.
PLACES = [_place(1, 20), _place(2, 0), _place(2, 7), _place(2, 14), _place(3, 0), _place(3, 11)]
GROUPS = [0, 1, 1, 1, 2, 2]
FEATURES = torch.tensor([[index, group] for index, group in enumerate(GROUPS)], dtype=torch.float32)


def _pairs(
    places: Sequence[Place] = PLACES,
    teacher_views: Tensor | LivePictures = FEATURES,
    *,
    draw: str = "own",
    **options: object,
) -> PairClips:
    defaults = {"clip": CLIP, "pixels": PIXELS, "augment": AugmentSpec(), "open_video": _open, "seed": 0}
    return PairClips(places, teacher_views, **{"draw": draw, **defaults, **options})


def _live(num_pictures: int, edge: int = 8) -> LivePictures:
    return LivePictures(pixels=PixelSpec(resize=edge, crop_size=edge), num_pictures=num_pictures)


def _get(pairs: PairClips, index: int, *, epoch: int = 0) -> Pair:
    pair = pairs[ClipKey(epoch, index)]
    assert isinstance(pair, Pair)
    return pair


def _shown(clip: Tensor) -> tuple[int, list[int]]:
    """The video and the frames in (C, T, H, W)."""
    assert clip.dtype == torch.uint8
    (video,) = clip[0].unique().tolist()
    assert clip.flatten(2).amin(dim=2).equal(clip.flatten(2).amax(dim=2))
    return video, clip[1, :, 0, 0].tolist()


@pytest.mark.parametrize("index", range(6))
def test_a_place_gives_its_window_with_its_own_look(index: int) -> None:
    pair = _get(_pairs(), index)
    first = [20, 0, 7, 14, 0, 11][index]
    assert _shown(pair.clip) == (GROUPS[index] + 1, [first, first + 2, first + 4, first + 6])
    assert pair.teacher_views.tolist() == [[index, GROUPS[index]]]
    assert pair.matches.tolist() == [1]
    assert pair.video == GROUPS[index]


def test_a_place_without_start_gives_clips_from_anywhere_in_its_piece() -> None:
    """Between seconds 1.0 and 2.0 lie frames 10 to 19; a span of 7 starts at 10 to 13."""
    pairs = _pairs([_place(1, piece=(1.0, 2.0)), _place(2)], _live(1))
    starts = set()
    for epoch in range(EPOCHS):
        video, frames = _shown(_get(pairs, 0, epoch=epoch).clip)
        assert (video, [frame - frames[0] for frame in frames]) == (1, [0, 2, 4, 6])
        starts.add(frames[0])
    assert starts == {10, 11, 12, 13}


@pytest.mark.parametrize("short", ["loop", "hold"])
def test_a_video_shorter_than_the_span_is_filled_up(short: str) -> None:
    expected = {"loop": [0, 2, 1, 0], "hold": [0, 2, 2, 2]}[short]  # frames 0 2 4 6 of a video of three
    clip = ClipSpec(num_frames=4, frame_stride=2, short=short)
    for place in (_place(5), _place(5, 0)):
        pair = _get(_pairs([place, _place(1, 0)], _live(4), clip=clip), 0)
        assert _shown(pair.clip) == _shown(pair.teacher_views[0]) == (5, expected)


def test_independent_pairs_are_half_matches_and_swap_in_the_next_epoch() -> None:
    pairs = _pairs(draw="independent")
    epochs = [[int(_get(pairs, index, epoch=epoch).matches) for index in range(6)] for epoch in range(4)]
    assert [sum(matches) for matches in epochs] == [3, 3, 3, 3]
    assert all(first != second for first, second in zip(epochs[0], epochs[1], strict=True))
    assert epochs[0] == epochs[2]
    assert epochs[1] == epochs[3]


@pytest.mark.parametrize("draw", ["independent", "both"])
def test_elsewhere_is_any_place_of_another_group_and_never_of_the_same(draw: str) -> None:
    pairs = _pairs(draw=draw)
    for index, group in enumerate(GROUPS):
        seen = set()
        for epoch in range(2 * EPOCHS):
            pair = _get(pairs, index, epoch=epoch)
            assert pair.matches.tolist() in ([[1], [0]] if draw == "independent" else [[1, 0]])
            for view, match in zip(pair.teacher_views.int().tolist(), pair.matches.tolist(), strict=True):
                assert (view == [index, group]) == (match == 1)
                seen |= set() if match else {tuple(view)}
        assert seen == {(other, number) for other, number in enumerate(GROUPS) if number != group}


def test_live_elsewhere_shows_another_video() -> None:
    pairs = _pairs([_place(1), _place(2), _place(2), _place(3)], _live(2), draw="both")
    for index, video in enumerate([1, 2, 2, 3]):
        shown = [[_shown(view) for view in _get(pairs, index, epoch=epoch).teacher_views] for epoch in range(EPOCHS)]
        assert {own for (own, _), _ in shown} == {video}
        assert {other for _, (other, _) in shown} == {1, 2, 3} - {video}


@pytest.mark.parametrize(
    ("num_pictures", "positions"), [(1, [2]), (2, [1, 3]), (3, [0, 2, 3]), (4, [0, 1, 2, 3]), (9, [0, 1, 2, 3])]
)
def test_live_pictures_are_evenly_spaced_frames_of_the_very_clip(num_pictures: int, positions: list[int]) -> None:
    """Each from the middle of its part: of 4 frames in 3 parts, frames 4/6, 12/6 and 20/6, rounded down."""
    pairs = _pairs([_place(1), _place(2, 5)], _live(num_pictures, edge=6))
    for index in (0, 1):
        for epoch in range(5):
            pair = _get(pairs, index, epoch=epoch)
            video, frames = _shown(pair.clip)
            assert pair.teacher_views.shape == (1, 3, len(positions), 6, 6)  # cut by the teacher's own sizes
            assert _shown(pair.teacher_views[0]) == (video, [frames[position] for position in positions])


def test_live_pictures_are_cut_anywhere() -> None:
    """Where a picture says its own column, crops of 8 from 16 columns start at each of 0 to 8."""
    columns = torch.arange(16, dtype=torch.uint8).expand(10, 16, 16)[..., None].expand(-1, -1, -1, 3)
    teacher_views = LivePictures(pixels=PixelSpec(resize=16, crop_size=8), num_pictures=2)
    augment = AugmentSpec(crop="centre", flip_probability=0.0)
    pairs = _pairs([_place(1), _place(2)], teacher_views, augment=augment, open_video=lambda path: ArrayVideo(columns))
    lefts = set()
    for epoch in range(200):
        pair = _get(pairs, 0, epoch=epoch)
        row = pair.teacher_views[0, 0, :, 3].tolist()
        assert row[0] == row[1]  # all pictures of a view alike
        lefts.add(min(row[0]))
        assert pair.clip.equal(_get(pairs, 1).clip)  # the student's view is cut by `augment`, at the centre
    assert lefts == set(range(9))


def test_hard_looks_are_other_windows_of_the_same_video() -> None:
    pairs = _pairs(hard=True)
    for index, others in enumerate([[], [2, 3], [1, 3], [1, 2], [5], [4]]):
        seen = set()
        for epoch in range(EPOCHS):
            pair = _get(pairs, index, epoch=epoch)
            assert pair.teacher_views[0].tolist() == [index, GROUPS[index]]
            assert pair.matches.tolist() == [1, 0 if others else LEFT_OUT]
            seen.add(int(pair.teacher_views[1, 0]))
        assert seen == (set(others) or {index})  # what is left out only fills the place


def test_hard_looks_are_of_the_same_piece_of_a_file() -> None:
    """Another piece of the file may overlap this one."""
    places = [
        _place(1, 0, piece=(0.0, 2.0)),
        _place(1, 7, piece=(0.0, 2.0)),
        _place(1, 5, piece=(0.5, 3.0)),
        _place(2, 0),
    ]
    pairs = _pairs(places, torch.arange(4.0)[:, None], hard=True)
    seen = [{int(_get(pairs, index, epoch=epoch).teacher_views[1, 0]) for epoch in range(EPOCHS)} for index in range(4)]
    assert seen == [{1}, {0}, {2}, {3}]
    assert [int(_get(pairs, index).matches[1]) for index in range(4)] == [0, 0, LEFT_OUT, LEFT_OUT]


def test_hard_live_looks_share_no_frame_with_the_clip() -> None:
    """In frames 10 to 29 of video 1, a span of 7 leaves starts at 10 to 23; each clip rules out those next to it."""
    pairs = _pairs([_place(1, piece=(1.0, 3.0)), _place(2)], _live(4), hard=True)
    starts = set()
    for epoch in range(6 * EPOCHS):
        pair = _get(pairs, 0, epoch=epoch)
        (_, frames), (video, others) = _shown(pair.clip), _shown(pair.teacher_views[1])
        assert pair.matches.tolist() == [1, 0]
        assert video == 1
        assert [frame - others[0] for frame in others] == [0, 2, 4, 6]
        assert max(others) < min(frames) or min(others) > max(frames)
        starts.add(others[0])
    assert starts == set(range(10, 24))


@pytest.mark.parametrize("video", [4, 5])
def test_hard_live_looks_are_left_out_where_the_video_is_too_short(video: int) -> None:
    """Nine frames leave starts 0 to 2, three frames none."""
    pair = _get(_pairs([_place(video), _place(1)], _live(4), hard=True), 0)
    assert pair.matches.tolist() == [1, LEFT_OUT]
    assert pair.teacher_views[0].equal(pair.teacher_views[1])


def test_hard_and_independent_go_together() -> None:
    pairs = _pairs(draw="independent", hard=True)
    assert [_get(pairs, 1, epoch=epoch).matches.tolist() for epoch in (0, 1)] == [[0, 0], [1, 0]]
    assert [_get(pairs, 0, epoch=epoch).matches.tolist() for epoch in (0, 1)] == [[1, LEFT_OUT], [0, LEFT_OUT]]


def test_shuffled_frames_are_the_students_only() -> None:
    places, teacher_views = [_place(1), _place(2)], _live(4)
    clip = ClipSpec(num_frames=4, frame_stride=2, order="shuffled")
    orders = set()
    for epoch in range(EPOCHS):
        plain = _get(_pairs(places, teacher_views), 0, epoch=epoch)
        shuffled = _get(_pairs(places, teacher_views, clip=clip), 0, epoch=epoch)
        assert shuffled.teacher_views.equal(plain.teacher_views)
        frames = _shown(shuffled.clip)[1]
        assert sorted(frames) == _shown(plain.clip)[1]
        orders.add(tuple(frame - min(frames) for frame in frames))
    assert len(orders) > 10


def _epoch(pairs: PairClips, epoch: int, *, num_workers: int = 0) -> list[Pair]:
    keys = [ClipKey(epoch, index) for index in range(len(pairs))]
    return list(DataLoader(pairs, batch_size=None, sampler=keys, num_workers=num_workers))


def _equal(first: list[Pair], second: list[Pair]) -> bool:
    return all(
        one.clip.equal(other.clip) and one.teacher_views.equal(other.teacher_views) and one.matches.equal(other.matches)
        for one, other in zip(first, second, strict=True)
    )


@pytest.mark.parametrize("draw", ["own", "independent", "both"])
def test_pairs_are_a_function_of_seed_epoch_and_index(draw: str) -> None:
    places = [_place(1), _place(2), _place(2), _place(3)]
    make = {"draw": draw, "hard": True, "augment": AugmentSpec(crop="random", scales=(1.0, 0.5), hue=0.2)}
    one = _epoch(_pairs(places, _live(2), **make), 3)
    assert _equal(one, _epoch(_pairs(places, _live(2), **make), 3, num_workers=2))
    again = _pairs(places, _live(2), **make)
    backwards = [again[ClipKey(3, index)] for index in reversed(range(4))]
    assert _equal(one, backwards[::-1])
    assert not _equal(one, _epoch(again, 4))
    assert not _equal(one, _epoch(_pairs(places, _live(2), seed=1, **make), 3))


def test_a_broken_video_gives_its_error() -> None:
    places = [_place("bad"), _place(1), _place(2)]
    assert _pairs(places, torch.zeros(3, 1))[ClipKey(0, 0)] == "bad.mp4: truncated"
    live = _pairs(places, _live(1), draw="both")
    found = [live[ClipKey(epoch, 1)] for epoch in range(EPOCHS)]  # in turn with the broken one and with video 2
    assert {item for item in found if isinstance(item, str)} == {"bad.mp4: truncated"}
    assert any(isinstance(item, Pair) for item in found)


def test_places_of_a_group_must_lie_side_by_side() -> None:
    with pytest.raises(AssertionError):
        _pairs([_place(1, 0), _place(2, 0), _place(1, 7)], torch.zeros(3, 1))


def test_batches_stack_what_is_there_and_name_what_is_not() -> None:
    pairs = _pairs(draw="both")
    good = [_get(pairs, index) for index in (4, 0)]
    batch = collate_pairs([good[0], "a: truncated", good[1], "b: truncated"])
    assert batch.num_clips == 2
    assert batch.clips.equal(torch.stack([pair.clip for pair in good]))
    assert batch.teacher_views.shape == (2, 2, 2)
    assert batch.teacher_views[:, 0].tolist() == [[4, 2], [0, 0]]
    assert batch.matches.tolist() == [[1, 0], [1, 0]]
    assert batch.matches.dtype == torch.int64
    assert batch.videos.tolist() == [2, 0]
    assert batch.failures == ["a: truncated", "b: truncated"]
    empty = collate_pairs(["a: truncated"])
    assert (empty.num_clips, empty.failures) == (0, ["a: truncated"])


def test_many_places_are_numbered_at_once() -> None:
    """Ranges by hand: groups of 1, 2, 1, 2, ... places."""
    places = [_place(f"{number:05d}", start) for number in range(2000) for start in range(number % 2 + 1)]
    pairs = _pairs(places, torch.zeros(3000, 1))
    assert pairs.ranges[:4] == [(0, 1), (1, 3), (3, 4), (4, 6)]
    assert pairs.ranges[-1] == (2998, 3000)
    assert pairs.videos[:6] == [0, 1, 1, 2, 3, 3]
