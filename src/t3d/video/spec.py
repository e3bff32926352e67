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
"""In pixels; OpenCV 5.0 writes out of bounds when it computes the flow of smaller frames."""


@dataclass(frozen=True, kw_only=True)
class ClipSpec:
    """Frames of one clip, as integers.

    Source: Diba et al. 2017, arXiv:1711.08200, section 4. The paper does not define its stride; here n frames at
    stride s span (n - 1) s + 1 frames of the video.
    """

    num_frames: Annotated[int, at_least(1)] = 32
    """Frames the network sees in one clip."""
    frame_stride: Annotated[int, at_least(1)] = 1
    """Distance between two frames of a clip, in frames of the video."""
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
    """From frames to network input: resize, crop, normalise."""

    resize: Annotated[int, at_least(1)] = 256
    """Short side in pixels (`short`), or both sides (`exact`), before cropping."""
    resize_mode: Literal["short", "exact"] = "short"
    """Keep the aspect ratio, or squash to a square."""
    crop_size: Annotated[int, at_least(1)] = 224
    """Edge of the square input, in pixels."""
    mean: tuple[float, float, float] = (0.45, 0.45, 0.45)
    """Mean of red, green and blue to subtract, as fractions of 255."""
    std: Annotated[tuple[float, float, float], above(0)] = (0.225, 0.225, 0.225)
    """Standard deviation to divide by, as fractions of 255."""
    modality: Literal["rgb", "difference", "flow"] = "rgb"
    """Input of the network: frames, differences of each frame to the next, or optical flow to the next."""
    flow_method: Literal["dis", "farneback"] = "dis"
    """How motion is found (--modality flow)."""
    flow_bound: Annotated[float, above(0, 1)] = 0.08
    """Largest motion between frames that the scale represents, as a fraction of the short side; 0.08 is 20 of 256."""

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
        """Channels of the input: three colours, or two directions of motion."""
        return 2 if self.modality == "flow" else 3


@dataclass(frozen=True, kw_only=True)
class AugmentSpec:
    """Random augmentation of training clips; drawn once for all frames of a clip.

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
    """Contrast is changed in the same way."""
    saturation: Annotated[float, at_least(0)] = 0.0
    """Saturation is changed in the same way."""
    hue: Annotated[float, between(0, 0.5)] = 0.0
    """Hue is rotated by up to this fraction of the circle, either way."""

    def __post_init__(self) -> None:
        check_bounds(self)
        if not self.scales:
            raise ConfigError("--scales names no crop edge; give one at least, such as 1.0")


@dataclass(frozen=True, kw_only=True)
class ViewSpec:
    """Views of a video to score, and how many at once."""

    clips: Annotated[int | None, at_least(1)] = None
    """Number of evenly spaced clips of each video; default: non-overlapping clips, as in the paper."""
    step: Annotated[int | None, at_least(1)] = None
    """Frames from the start of a clip to that of the next; default: the clip's span, so that none overlap."""
    segments: Annotated[int | None, at_least(1)] = None
    """Score the centred clip of each of this number of equal segments; default: those of the training."""
    crops: Literal[1, 3] = 1
    """The centre crop, or three along the longer side."""
    batch_size: Annotated[int, at_least(1)] = 8
    """Views scored at once, of one or several videos; 1 makes scores independent of the batch, to the bit."""

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
    """Temporal segments: several clips of a video with shared weights, and the consensus of their logits.

    Source: Wang et al. 2016 (temporal segment networks), arXiv:1608.00859, section 3.1.
    """

    segments: Annotated[int, at_least(1)] = 1
    """Clips of each video in one pass, one per equal segment (TSN); memory grows with it; 1 is off."""
    consensus: Consensus = "mean"
    """Consensus of the segments' logits per class: mean, maximum, or weighted mean of the highest."""
    consensus_top: Annotated[int, at_least(1)] = 2
    """The k of top-k; the weights fall linearly from k to 1."""

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
        """The views to score: those given, otherwise the segments of the training."""
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
            "bf": "0",  # `t3d.video.packets` need not read a file whose frames are stored in display order
            "g": str(self.keyframes),
            "x264-params": "scenecut=0:threads=1:lookahead-threads=1",
        }
