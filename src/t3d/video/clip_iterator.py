"""Clips of a video in one pass over it: each frame is decoded once, in ascending order, however the clips overlap.

Which frames make up a clip is `sampling`'s business; what is made of a frame, the caller's.
"""

from bisect import bisect_right
from collections.abc import Callable, Iterator, Sequence

import torch
from torch import Tensor

from t3d.tensors import FrameIndices, Frames
from t3d.video.reader import FRAMES_AT_ONCE, VideoReader, size_changes


def in_one_pass(
    video: VideoReader, clips: FrameIndices, prepare: Callable[[Frames], Sequence[Tensor]] = torch.unbind
) -> Iterator[list[Tensor]]:
    """Give the prepared frames of each clip, in its order; a clip is there as soon as its last frame has been decoded.

    What was made of a frame is held until no later clip needs it. For clips in the order of their starts that is at
    most the span of one clip, whatever the length of the video.

    Args:
        video: Read from the first frame wanted to the last.
        clips: Frames of N clips, (N, T); they may repeat, and lie in any order within a clip.
        prepare: Makes one tensor of each of some decoded frames, whose neighbours it must not look at.

    Raises:
        DecodeError: A frame cannot be decoded, or the size of the picture changes within a clip.
    """
    wanted = clips.unique().tolist()  # ascending
    needed_from = clips.amin(dim=1).flip(0).cummin(dim=0).values.flip(0)  # (N,): the first frame of any clip from here
    held: dict[int, tuple[torch.Size, Tensor]] = {}
    begun = 0
    for row, first in zip(clips, needed_from.tolist(), strict=True):
        clip = row.tolist()
        held = {index: kept for index, kept in held.items() if index >= first}
        end = bisect_right(wanted, max(clip), lo=begun)
        for start in range(begun, end, FRAMES_AT_ONCE):
            indices = wanted[start : min(start + FRAMES_AT_ONCE, end)]
            frames = video.frames(indices)
            size = frames.shape[1:3]
            held.update((index, (size, made)) for index, made in zip(indices, prepare(frames), strict=True))
        begun = end
        yield _of_one_size([held[index] for index in clip], video.name)


def _of_one_size(kept: Sequence[tuple[torch.Size, Tensor]], name: str) -> list[Tensor]:
    if len({size for size, _ in kept}) > 1:
        raise size_changes(name)
    return [made for _, made in kept]
