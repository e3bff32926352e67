"""Samplers: frame indices of clips from the length of a video.

Samplers ignore `ClipSpec.order`; `shuffle_frames` is a separate step.
"""

import torch
from torch import Tensor

from t3d.errors import DecodeError
from t3d.tensors import FrameIndices
from t3d.video.spec import ClipSpec


def random_clip(video_length: int, spec: ClipSpec, generator: torch.Generator) -> FrameIndices:
    """One clip with a random start; for training."""
    last_start = _last_start(video_length, spec)
    return _clips_from(torch.randint(last_start + 1, (1,), generator=generator), video_length, spec)


def uniform_clips(video_length: int, spec: ClipSpec, num_clips: int) -> FrameIndices:
    """Clips with evenly spaced starts from the first frame to the last possible start; a single one is centred.

    In short videos, clips overlap and starts repeat.
    """
    last_start = _last_start(video_length, spec)
    if num_clips == 1:
        starts = torch.tensor([last_start // 2])
    else:
        gaps = num_clips - 1
        starts = (2 * torch.arange(num_clips) * last_start + gaps) // (2 * gaps)  # rounded to the nearest frame
    return _clips_from(starts, video_length, spec)


def non_overlapping_clips(video_length: int, spec: ClipSpec) -> FrameIndices:
    """Consecutive clips from the first frame, without the remainder; one clip if the video is too short.

    Source: Diba et al. 2017, arXiv:1711.08200, section 4 (testing). It does not mention the remainder.
    """
    return sliding_clips(video_length, spec, spec.span)


def sliding_clips(video_length: int, spec: ClipSpec, step: int) -> FrameIndices:
    """Clips with starts `step` frames apart, from the first frame to the last clip that fits."""
    num_clips = _last_start(video_length, spec) // step + 1
    return _clips_from(torch.arange(num_clips) * step, video_length, spec)


def segment_clips(
    video_length: int, spec: ClipSpec, num_segments: int, generator: torch.Generator | None = None
) -> FrameIndices:
    """One clip in each of equal segments of the video: with random start if a generator is given, else centred.

    If a segment is shorter than a clip, the possible starts are divided into equal parts instead of the frames, so that
    the clips still cover the video and vary.

    Source: Wang et al. 2016 (temporal segment networks), arXiv:1608.00859, section 3.1.
    """
    last_start = _last_start(video_length, spec)
    inside = video_length // num_segments >= spec.span
    pool, reserved = (video_length, spec.span) if inside else (last_start + 1, 1)
    edges = torch.arange(num_segments + 1) * pool // num_segments
    first, last = edges[:-1], torch.maximum(edges[1:] - reserved, edges[:-1])
    if generator is None:
        starts = (first + last) // 2
    else:
        fractions = torch.rand(num_segments, generator=generator, dtype=torch.float64)
        starts = first + (fractions * (last - first + 1)).long()
    return _clips_from(starts, video_length, spec)


def shuffle_frames(indices: FrameIndices, generator: torch.Generator) -> FrameIndices:
    """Permute the frames within each clip: appearance stays, motion is lost."""
    order = torch.rand(indices.shape, generator=generator).argsort(dim=1)
    return indices.gather(1, order)


def _last_start(video_length: int, spec: ClipSpec) -> int:
    if video_length < 1:
        raise DecodeError(f"a video of {video_length} frames has no clip; remove it or widen its start and end")
    return max(video_length - spec.span, 0)


def _clips_from(starts: Tensor, video_length: int, spec: ClipSpec) -> FrameIndices:
    indices = starts[:, None] + torch.arange(spec.num_frames) * spec.frame_stride  # (N, T)
    return indices % video_length if spec.short == "loop" else indices.clamp(max=video_length - 1)
