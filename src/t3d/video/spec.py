"""Value objects: clips, pixels, augmentation, scored views, segments, prepared files. PyTorch is not imported."""

import math
from dataclasses import dataclass, replace
from typing import Annotated, Literal

from t3d.bounds import above, at_least, between, check_bounds
from t3d.errors import ConfigError

ShortPolicy = Literal["loop", "hold"]
FrameOrder = Literal["forward", "shuffled"]
Consensus = Literal["mean", "max", "top-k"]

_SMALLEST_FOR_FLOW = 16
"""OpenCV 5.0 writes beyond its memory where it looks for flow in smaller pictures."""


@dataclass(frozen=True, kw_only=True)
class ClipSpec:
    """Frames of one clip, as integers.

    Source: Diba et al. 2017, arXiv:1711.08200, section 4. The paper does not define its stride; here n frames at
    stride s span (n - 1) s + 1 frames of the video.
    """

    num_frames: Annotated[int, at_least(1)] = 32
    """Frames the network sees in one clip."""
    frame_stride: Annotated[int, at_least(1)] = 1
    """Distance between two of them, in frames of the video."""
    short: ShortPolicy = "loop"
    """A video shorter than the span starts again (loop) or repeats its last frame (hold)."""
    order: FrameOrder = "forward"
    """`shuffled` permutes the frames of every clip: a control that destroys all motion."""

    def __post_init__(self) -> None:
        check_bounds(self)

    @property
    def span(self) -> int:
        """Frames of the video from the first to the last frame of the clip, both included."""
        return (self.num_frames - 1) * self.frame_stride + 1


@dataclass(frozen=True, kw_only=True)
class PixelSpec:
    """How pictures become network input: resized, cropped, normalised."""

    resize: Annotated[int, at_least(1)] = 256
    """Short side in pixels (`short`), or both sides (`exact`), before cropping."""
    resize_mode: Literal["short", "exact"] = "short"
    """Keep the aspect ratio, or squash to a square."""
    crop_size: Annotated[int, at_least(1)] = 224
    """Edge of the square the network sees, in pixels."""
    mean: tuple[float, float, float] = (0.45, 0.45, 0.45)
    """Subtracted from red, green and blue, as fractions of 255."""
    std: Annotated[tuple[float, float, float], above(0)] = (0.225, 0.225, 0.225)
    """What the differences are divided by, as fractions of 255."""
    modality: Literal["rgb", "difference", "flow"] = "rgb"
    """What the network sees: pictures, the change from each frame to the next, or how far each pixel moves to it."""
    flow_method: Literal["dis", "farneback"] = "dis"
    """How motion is found (--modality flow)."""
    flow_bound: Annotated[float, above(0, 1)] = 0.08
    """Largest motion from one frame to the next that is told from larger ones, as a share of the short side; 0.08 are
    20 pixels of 256."""

    def __post_init__(self) -> None:
        check_bounds(self)
        if self.crop_size > self.resize:
            raise ConfigError(
                f"--crop-size {self.crop_size} exceeds --resize {self.resize}; lower it, or resize to more"
            )
        if not all(map(math.isfinite, (*self.mean, *self.std))):
            raise ConfigError(f"--mean {self.mean} and --std {self.std} must be finite numbers")
        if self.modality == "flow" and self.resize < _SMALLEST_FOR_FLOW:
            raise ConfigError(f"--resize {self.resize}: flow needs pictures of {_SMALLEST_FOR_FLOW} pixels or more")
        if self.modality == "flow" and (self.mean, self.std) != (PixelSpec.mean, PixelSpec.std):
            raise ConfigError("--mean and --std are of pictures, and --modality flow has its own; leave them out")

    @property
    def channels(self) -> int:
        """Of a frame the network sees: three colours, or the two directions of motion."""
        return 2 if self.modality == "flow" else 3


@dataclass(frozen=True, kw_only=True)
class AugmentSpec:
    """How a training view may differ from the plain one; drawn once for all frames of a clip.

    Source: Diba et al. 2017, arXiv:1711.08200, section 4: crops at the four corners or the centre, flips with p 0.5.
    """

    crop: Literal["five", "random", "centre"] = "five"
    """Where crops are taken: the corners and the centre, anywhere, or the centre only."""
    scales: Annotated[tuple[float, ...], above(0, 1)] = (1.0,)
    """Crop edges to choose from, as fractions of the crop size; the crop is then resized."""
    flip_probability: Annotated[float, between(0, 1)] = 0.5
    """Probability of a left-right flip; 0 where the direction of motion is the label."""
    brightness: Annotated[float, at_least(0)] = 0.0
    """Brightness is multiplied by a factor drawn from 1 - x to 1 + x."""
    contrast: Annotated[float, at_least(0)] = 0.0
    """Contrast, likewise."""
    saturation: Annotated[float, at_least(0)] = 0.0
    """Saturation, likewise."""
    hue: Annotated[float, between(0, 0.5)] = 0.0
    """Hue is turned by up to this share of the circle, either way."""

    def __post_init__(self) -> None:
        check_bounds(self)
        if not self.scales:
            raise ConfigError("--scales names no crop edge; give one at least, such as 1.0")


@dataclass(frozen=True, kw_only=True)
class ViewSpec:
    """Which views of a video are scored, and how many at once."""

    clips: Annotated[int | None, at_least(1)] = None
    """Evenly spaced clips of each video; left out, one clip after the other, as in the paper."""
    step: Annotated[int | None, at_least(1)] = None
    """Frames from the start of a clip to that of the next; left out, the clip's span, so that none overlap."""
    segments: Annotated[int | None, at_least(1)] = None
    """The centred clip of each of so many equal segments; left out, those of a training with --segments."""
    crops: Literal[1, 3] = 1
    """The centre crop, or three along the longer side."""
    batch_size: Annotated[int, at_least(1)] = 8
    """Views scored at once, of one video or of several; with 1, no digit depends on what else is scored."""

    def __post_init__(self) -> None:
        check_bounds(self)
        chosen = [f"{name} {getattr(self, name)}" for name in ("clips", "step", "segments") if getattr(self, name)]
        if len(chosen) > 1:
            raise ConfigError(f"{' and '.join(chosen)} exclude each other; give one")

    def __str__(self) -> str:
        clips = "non-overlapping clips" if self.step is None else f"clips {self.step} frames apart"
        if self.clips is not None:
            clips = f"{self.clips} evenly spaced clips"
        if self.segments is not None:
            clips = f"{self.segments} segments"
        return f"{clips} x {'centre crop' if self.crops == 1 else '3 crops'}"


@dataclass(frozen=True, kw_only=True)
class SegmentSpec:
    """Clips of a video that share the weights and are judged together, and how their logits become those of the video.

    Source: Wang et al. 2016 (temporal segment networks), arXiv:1608.00859, section 3.1.
    """

    segments: Annotated[int, at_least(1)] = 1
    """Clips of each video in one pass, one from each of so many equal segments (TSN), for as much memory; 1 is off."""
    consensus: Consensus = "mean"
    """What becomes of the segments' logits, class by class: their mean, the highest, or a weighted mean of a few."""
    consensus_top: Annotated[int, at_least(1)] = 2
    """How many the top-k are; their weights fall linearly from k to 1."""

    def __post_init__(self) -> None:
        check_bounds(self)
        if self.consensus != "mean" and not self.enabled:
            raise ConfigError(f"--consensus {self.consensus} is of several segments; give --segments 2 or more")
        if self.consensus == "top-k" and self.consensus_top > self.segments:
            raise ConfigError(f"--consensus-top {self.consensus_top} exceeds --segments {self.segments}; lower it")

    @property
    def enabled(self) -> bool:
        """Whether there is more than one segment."""
        return self.segments > 1

    @property
    def rule(self) -> str:
        """The consensus in words."""
        return f"weighted top {self.consensus_top}" if self.consensus == "top-k" else self.consensus

    def resolve(self, views: ViewSpec) -> ViewSpec:
        """The views that are scored: those asked for; where none are, the segments of the training."""
        if self.enabled and views.clips is views.step is views.segments is None:
            return replace(views, segments=self.segments)
        return views


@dataclass(frozen=True, kw_only=True)
class PreparedForm:
    """How prepared videos are encoded."""

    short_side: int = 256
    """Pixels; smaller videos are enlarged, so that training need not resize."""
    keyframes: int = 8
    """Frames from one keyframe to the next."""
    crf: int = 23
    """x264's constant rate factor: 0 lossless, 51 worst."""

    @property
    def options(self) -> dict[str, str]:
        """Options of libx264."""
        return {
            "crf": str(self.crf),
            "preset": "veryfast",
            "tune": "fastdecode",
            "bf": "0",  # `t3d.video.packets` need not read a file whose pictures are stored in the order shown
            "g": str(self.keyframes),
            "x264-params": "scenecut=0:threads=1:lookahead-threads=1",
        }
