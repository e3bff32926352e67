import math
from dataclasses import replace

import pytest
import torch
from torch import Tensor

from t3d.data.shape_frames import (
    SHAPE_CLASSES,
    SHAPE_PAIRS,
    EventRange,
    ShapeVideo,
    draw_shape_video,
    shape_frames,
)

RANGES: list[EventRange] = ["short", "medium", "long"]
DURATIONS = {"short": {16: 4, 31: 8, 32: 8}, "medium": {16: 8, 31: 16, 32: 16}, "long": {16: 16, 31: 31, 32: 32}}
MIRRORED = [pytest.param(first, second, id=first) for first, second in SHAPE_PAIRS]


def draw(event_range: EventRange = "medium", *, seed: int = 0) -> ShapeVideo:
    return draw_shape_video(event_range, torch.Generator().manual_seed(seed))


def plain(event_range: EventRange = "long", *, seed: int = 0) -> ShapeVideo:
    """White on an even black ground, so that a pixel's value is how much of it the shape covers."""
    return replace(draw(event_range, seed=seed), ground=(0.0, 0.0, 0.0), colour=(1.0, 1.0, 1.0), gradient=(0.0, 0.0))


def coverage(action: str, video: ShapeVideo, **size: int) -> Tensor:
    return shape_frames(action, video, **size)[..., 0].double() / 255


def centroids(masks: Tensor) -> Tensor:
    """(T, 2) mean (x, y) in pixels from the left and from the top."""
    axis = torch.arange(masks.shape[-1], dtype=torch.float64) + 0.5
    mass = masks.sum(dim=(1, 2))
    return torch.stack([(masks.sum(dim=1) * axis).sum(-1) / mass, (masks.sum(dim=2) * axis).sum(-1) / mass], dim=-1)


def test_twelve_classes_in_six_pairs() -> None:
    assert len(SHAPE_PAIRS) == 6
    assert len(set(SHAPE_CLASSES)) == 12


@pytest.mark.parametrize("event_range", RANGES)
@pytest.mark.parametrize(("first", "second"), MIRRORED)
@pytest.mark.parametrize("num_frames", [16, 31])
def test_twins_are_exact_reversals(first: str, second: str, event_range: EventRange, num_frames: int) -> None:
    video = draw(event_range)
    forward = shape_frames(first, video, num_frames=num_frames)
    backward = shape_frames(second, video, num_frames=num_frames)
    assert forward.shape == (num_frames, 64, 64, 3)
    assert torch.equal(backward, forward.flip(0))
    assert not torch.equal(backward, forward)


@pytest.mark.parametrize("event_range", RANGES)
@pytest.mark.parametrize("num_frames", [16, 31])
def test_every_start_is_equally_likely_so_time_can_be_reversed(event_range: EventRange, num_frames: int) -> None:
    duration = DURATIONS[event_range][num_frames]
    num_starts = num_frames - duration + 1
    held = []
    for index in range(num_starts):
        video = replace(plain(event_range), start=(index + 0.5) / num_starts)
        steps = shape_frames("grow", video, num_frames=num_frames, edge=32).diff(dim=0).flatten(1).any(dim=1)
        moving = steps.nonzero().flatten().tolist()
        before, after = moving[0], num_frames - 2 - moving[-1]
        assert moving == list(range(moving[0], moving[-1] + 1))
        held.append((max(before + 1, 1), max(after + 1, 1)))
    expected = [(max(index, 1), max(num_starts - 1 - index, 1)) for index in range(num_starts)]
    assert held == expected  # frames that show the picture before and after; at the ends it is the event's own


@pytest.mark.parametrize("seed", range(2))
@pytest.mark.parametrize(("action", "axis"), [("move_left", 0), ("move_up", 1)])
def test_moves_go_where_their_name_says(action: str, axis: int, seed: int) -> None:
    video = plain(seed=seed)
    path = centroids(coverage(action, video, edge=128))
    step = path.diff(dim=0)
    travelled = (
        -video.travel * 128 * 31 / 32
    )  # the first frame is half a step on its way, the last half a step from the end
    assert step[:, axis].sum().item() == pytest.approx(travelled, abs=1.0)
    assert (step[:, axis] < 0).all()
    assert step[:, 1 - axis].abs().max() < 0.3


@pytest.mark.parametrize("seed", range(2))
def test_turns_go_clockwise_on_a_screen_by_the_drawn_angle(seed: int) -> None:
    video = plain(seed=seed)
    assert 150 <= math.degrees(video.turn) <= 270
    arm = centroids(coverage("turn_clockwise", video, edge=128)) - torch.tensor(video.centre).double() * 128
    angle = torch.atan2(arm[:, 1], arm[:, 0])
    steps = (angle.diff() + math.pi) % (2 * math.pi) - math.pi
    assert (steps > 0).all()  # y points down: from right to bottom is clockwise
    assert steps.sum().item() == pytest.approx(video.turn * 31 / 32, abs=0.03)
    assert arm.norm(dim=1).min() > 3  # no symmetry to hide the turn


def test_growing_is_by_the_drawn_factor() -> None:
    video = plain("medium")
    area = coverage("grow", video, edge=128).sum(dim=(1, 2))
    assert math.sqrt(area[-1] / area[0]) == pytest.approx(video.growth, rel=0.02)
    assert (area.diff() >= 0).all()


def test_a_disc_comes_before_a_cross() -> None:
    video = replace(plain("short"), start=0.5)
    masks = coverage("disc_then_cross", video, edge=128)
    radius = 1.8 * video.size * 128
    assert masks[0].sum().item() == pytest.approx(math.pi * radius**2, rel=0.01)
    arm, half_width = 1.2 * radius, 0.3 * radius
    assert masks[-1].sum().item() == pytest.approx(2 * (4 * arm * half_width) - 4 * half_width**2, rel=0.02)


def test_the_upper_lamp_flashes_before_the_lower() -> None:
    video = replace(plain("short"), start=0.5)
    masks = coverage("flash_upper_then_lower", video, edge=128)
    middle = round(video.centre[1] * 128)
    upper, lower = masks[:, :middle].amax(dim=(1, 2)), masks[:, middle:].amax(dim=(1, 2))
    on, off = 1.0, pytest.approx(0.35, abs=0.01)
    before, event = 12, 4  # 8 of 32 frames, starting at 0.5 * (32 - 8 + 1) = 12, half of them for each lamp
    assert upper.tolist() == [off] * before + [on] * event + [off] * (32 - before - event)
    assert lower.tolist() == [off] * (before + event) + [on] * event + [off] * (32 - before - 2 * event)


@pytest.mark.parametrize("event_range", RANGES)
@pytest.mark.parametrize("action", SHAPE_CLASSES)
def test_the_shape_contrasts_and_stays_whole_in_every_frame(action: str, event_range: EventRange) -> None:
    for seed in range(3):
        video = draw(event_range, seed=seed)
        luminance = shape_frames(action, video).double().mean(dim=-1)  # (T, H, W)
        border = torch.cat([luminance[:, 0], luminance[:, -1], luminance[:, :, 0], luminance[:, :, -1]], dim=1)
        assert (border.amax(dim=1) - border.amin(dim=1)).max() < 0.2 * 255  # nothing but the graded ground
        away = (luminance - border.median(dim=1).values[:, None, None]).abs().amax(dim=(1, 2))
        assert away.min() > 0.08 * 255


def test_draws_differ_between_generators_only() -> None:
    assert draw(seed=3) == draw(seed=3)
    assert draw(seed=3) != draw(seed=4)
