"""Which frames make up a clip: integers in, integers out, no pixels and no files.

Shuffling a clip's frames is a separate step, `shuffle_frames`: samplers ignore `ClipSpec.order`.
"""

import torch
from torch import Tensor

from t3d.errors import DecodeError
from t3d.tensors import FrameIndices
from t3d.video.spec import ClipSpec


def random_clip(video_length: int, spec: ClipSpec, generator: torch.Generator) -> FrameIndices:
    """One clip starting anywhere it fits; a training view."""
    last_start = _last_start(video_length, spec)
    return _clips_from(torch.randint(last_start + 1, (1,), generator=generator), video_length, spec)


def uniform_clips(video_length: int, spec: ClipSpec, num_clips: int) -> FrameIndices:
    """Clips whose starts are evenly spaced from the first frame to the last start that fits; a single one is centred.

    Clips overlap, and starts repeat, where the video is short.
    """
    last_start = _last_start(video_length, spec)
    if num_clips == 1:
        starts = torch.tensor([last_start // 2])
    else:
        gaps = num_clips - 1
        starts = (2 * torch.arange(num_clips) * last_start + gaps) // (2 * gaps)  # rounded to the nearest frame
    return _clips_from(starts, video_length, spec)


def non_overlapping_clips(video_length: int, spec: ClipSpec) -> FrameIndices:
    """Clips one after another from the first frame, the remainder dropped; one clip where the video is too short.

    Source: Diba et al. 2017, arXiv:1711.08200, section 4 (testing). It does not mention the remainder.
    """
    return sliding_clips(video_length, spec, spec.span)


def sliding_clips(video_length: int, spec: ClipSpec, step: int) -> FrameIndices:
    """Clips whose starts lie `step` frames apart, from the first frame to the last clip that fits whole."""
    num_clips = _last_start(video_length, spec) // step + 1
    return _clips_from(torch.arange(num_clips) * step, video_length, spec)


def segment_clips(
    video_length: int, spec: ClipSpec, num_segments: int, generator: torch.Generator | None = None
) -> FrameIndices:
    """Cut the video into equal segments and take one clip in each: anywhere with a generator, centred without.

    Where a segment is shorter than a clip, the possible starts are cut into equal parts instead of the frames, so that
    the clips still spread over the video and still vary.

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
    """Permute the frames within each clip: what a clip shows stays, how it moves is lost."""
    order = torch.rand(indices.shape, generator=generator).argsort(dim=1)
    return indices.gather(1, order)


def _last_start(video_length: int, spec: ClipSpec) -> int:
    if video_length < 1:
        raise DecodeError(f"a video of {video_length} frames has no clip; remove it or widen its start and end")
    return max(video_length - spec.span, 0)


def _clips_from(starts: Tensor, video_length: int, spec: ClipSpec) -> FrameIndices:
    indices = starts[:, None] + torch.arange(spec.num_frames) * spec.frame_stride  # (N, T)
    return indices % video_length if spec.short == "loop" else indices.clamp(max=video_length - 1)
