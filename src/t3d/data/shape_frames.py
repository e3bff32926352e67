"""Draw the frames of the temporal shapes; `t3d.data.shapes` writes the files and lists.

Every class has a twin that is its time reversal. The content of the frames is drawn before the direction is chosen, and
the start of the event is uniform, so the set of frames of a video has the same distribution for both twins: without the
order of frames, the pair can be recognised, but not the twin.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor

from t3d.tensors import Frames

EventRange = Literal["short", "medium", "long"]

EVENT_FRACTIONS: dict[EventRange, float] = {"short": 0.25, "medium": 0.5, "long": 1.0}
"""Fraction of the video that the decisive event fills; before and after it, the frames do not change."""

_LAMP_OFF = 0.35  # brightness of a lamp between background and full colour while it does not flash


@dataclass(frozen=True, kw_only=True)
class ShapeVideo:
    """Random parameters of one video except its action; lengths and positions are fractions of the edge."""

    ground: tuple[float, float, float]
    colour: tuple[float, float, float]
    gradient: tuple[float, float]
    centre: tuple[float, float]
    size: float
    angle: float
    travel: float
    turn: float
    growth: float
    event_range: EventRange
    start: float
    """Start of the event: 0 at once, 1 as late as possible."""


def draw_shape_video(event_range: EventRange, generator: torch.Generator) -> ShapeVideo:
    """Draw colours, position, size, speed and start of one video, all independent of its class."""

    def uniform(low: float, high: float) -> float:
        return low + (high - low) * torch.rand((), generator=generator).item()

    dark, light = uniform(0.10, 0.30), uniform(0.70, 0.90)
    ground, colour = (dark, light) if uniform(0.0, 1.0) < 0.5 else (light, dark)
    slope, direction = uniform(0.0, 0.12), uniform(0.0, 2 * math.pi)
    return ShapeVideo(
        ground=(ground + uniform(-0.1, 0.1), ground + uniform(-0.1, 0.1), ground + uniform(-0.1, 0.1)),
        colour=(colour + uniform(-0.1, 0.1), colour + uniform(-0.1, 0.1), colour + uniform(-0.1, 0.1)),
        gradient=(slope * math.cos(direction), slope * math.sin(direction)),
        centre=(uniform(0.44, 0.56), uniform(0.44, 0.56)),
        size=uniform(0.13, 0.17),
        angle=uniform(0.0, 2 * math.pi),
        travel=uniform(0.32, 0.45),
        turn=math.radians(uniform(150.0, 270.0)),
        growth=uniform(1.9, 2.4),
        event_range=event_range,
        start=torch.rand((), generator=generator).item(),
    )


def shape_frames(action: str, video: ShapeVideo, *, num_frames: int = 32, edge: int = 64) -> Frames:
    """Draw all frames of one video.

    Args:
        action: One of `SHAPE_CLASSES`; the frames of twins are each other's reverse.
        video: Parameters; the same for both twins.
        num_frames: Length of the video, at least 4.
        edge: Height and width in pixels.
    """
    pair = next(pair for pair in SHAPE_PAIRS if action in pair)
    progress = _progress(video, num_frames)
    coverage = SHAPE_PAIRS[pair](video, progress, _pixel_grid(edge))[..., None]  # (T, H, W, 1)
    ramp = (_pixel_grid(edge) - 0.5) @ _exact(video.gradient)
    ground = _exact(video.ground) + ramp[..., None]  # (H, W, 3)
    picture = ground + coverage * (_exact(video.colour) - ground)
    frames = (picture.clamp(0, 1) * 255).round().to(torch.uint8)
    return frames if action == pair[0] else frames.flip(0)


def _progress(video: ShapeVideo, num_frames: int) -> Float[Tensor, " T"]:
    """Progress of the event in each frame: 0 before it, 1 after it, steps centred so that time can be reversed."""
    duration = max(round(EVENT_FRACTIONS[video.event_range] * num_frames), 1)
    start = min(int(video.start * (num_frames - duration + 1)), num_frames - duration)
    return ((torch.arange(num_frames, dtype=torch.float64) - start + 0.5) / duration).clamp(0, 1)


def _pixel_grid(edge: int) -> Float[Tensor, "H W 2"]:
    """The (x, y) of every pixel's centre, x to the right, y down, both 0..1."""
    axis = (torch.arange(edge, dtype=torch.float64) + 0.5) / edge
    rows, columns = torch.meshgrid(axis, axis, indexing="ij")
    return torch.stack([columns, rows], dim=-1)


def _exact(values: tuple[float, ...]) -> Float[Tensor, " n"]:
    """Convert to double: in single precision, the order of summation could change a pixel."""
    return torch.tensor(values, dtype=torch.float64)


Coverage = Float[Tensor, "T H W"]
_Draw = Callable[[ShapeVideo, Float[Tensor, " T"], Float[Tensor, "H W 2"]], Coverage]


def _move(axis: int) -> _Draw:
    def draw(video: ShapeVideo, progress: Tensor, grid: Tensor) -> Tensor:
        offset = torch.zeros(len(progress), 2, dtype=torch.float64)
        offset[:, axis] = (0.5 - progress) * video.travel  # to the left, or up
        centre = _exact(video.centre) + offset
        size = torch.full_like(progress, 1.25 * video.size)
        return _pointer(grid, centre, size, torch.full_like(progress, video.angle))

    return draw


def _turn(video: ShapeVideo, progress: Tensor, grid: Tensor) -> Tensor:
    centre = _exact(video.centre).expand(len(progress), 2)
    angle = video.angle + (progress - 0.5) * video.turn  # y points down: a positive angle turns clockwise
    return _pointer(grid, centre, torch.full_like(progress, 2.2 * video.size), angle)


def _grow(video: ShapeVideo, progress: Tensor, grid: Tensor) -> Tensor:
    centre = _exact(video.centre).expand(len(progress), 2)
    size = video.size * (1 + (video.growth - 1) * progress)
    return _pointer(grid, centre, size, torch.full_like(progress, video.angle))


def _disc_to_cross(video: ShapeVideo, progress: Tensor, grid: Tensor) -> Tensor:
    place = (grid - _exact(video.centre))[None]  # (1, H, W, 2)
    radius = 1.8 * video.size
    disc = place.norm(dim=-1) - radius
    arms = torch.minimum(_box(place, 1.2 * radius, 0.3 * radius), _box(place, 0.3 * radius, 1.2 * radius))
    return _antialias(disc + progress[:, None, None] * (arms - disc))


def _flash_upper_then_lower(video: ShapeVideo, progress: Tensor, grid: Tensor) -> Tensor:
    flashes = torch.stack([(progress > 0) & (progress < 0.5), (progress > 0.5) & (progress < 1)])
    brightness = torch.where(flashes, 1.0, _LAMP_OFF)[..., None, None]  # (2, T, 1, 1)
    away = _exact((0.0, 0.5 * video.travel))
    centre = _exact(video.centre)
    upper, lower = (
        _antialias((grid - place).norm(dim=-1) - 0.8 * video.size) for place in (centre - away, centre + away)
    )
    return brightness[0] * upper + brightness[1] * lower


SHAPE_PAIRS: dict[tuple[str, str], _Draw] = {
    ("move_left", "move_right"): _move(axis=0),
    ("move_up", "move_down"): _move(axis=1),
    ("turn_clockwise", "turn_anticlockwise"): _turn,
    ("grow", "shrink"): _grow,
    ("disc_then_cross", "cross_then_disc"): _disc_to_cross,
    ("flash_upper_then_lower", "flash_lower_then_upper"): _flash_upper_then_lower,
}
"""Both twins of every pair, and the function that draws the first."""

SHAPE_CLASSES = tuple(sorted(action for pair in SHAPE_PAIRS for action in pair))


def _pointer(
    grid: Float[Tensor, "H W 2"], centre: Float[Tensor, "T 2"], size: Float[Tensor, " T"], angle: Float[Tensor, " T"]
) -> Coverage:
    """A disc with one arm, like a clock's hand: without rotational symmetry."""
    place = grid[None] - centre[:, None, None]  # (T, H, W, 2)
    cosine, sine = angle.cos()[:, None, None], angle.sin()[:, None, None]
    along = place[..., 0] * cosine + place[..., 1] * sine
    across = place[..., 1] * cosine - place[..., 0] * sine
    length = size[:, None, None]
    disc = torch.hypot(along, across) - 0.45 * length
    arm = _box(torch.stack([along - 0.5 * length, across], dim=-1), 0.5 * length, 0.22 * length)
    return _antialias(torch.minimum(disc, arm))


def _box(place: Tensor, half_width: Tensor | float, half_height: Tensor | float) -> Tensor:
    """Signed distance (outside positive, a bound at the corners) to a box centred at the origin."""
    return torch.maximum(place[..., 0].abs() - half_width, place[..., 1].abs() - half_height)


def _antialias(distance: Float[Tensor, "*T H W"]) -> Float[Tensor, "*T H W"]:
    """Coverage of each pixel, from signed distances in fractions of the edge."""
    return (0.5 - distance * distance.shape[-1]).clamp(0, 1)
