"""Which windows of a video are looked at again and again, and which frames those are; no pixels and no files.

A window is a clip at a fixed place. Training clips that start anywhere are `t3d.video.sampling`'s business.
"""

from t3d.errors import ConfigError
from t3d.tensors import ClipFrames
from t3d.video.sampling import segment_clips, uniform_clips
from t3d.video.spec import ClipSpec


def window_starts(video_length: int, spec: ClipSpec, most: int) -> list[int]:
    """First frames of windows that do not overlap: one in the middle of each of equal parts of the video.

    A video shorter than the span has one window, from frame 0. For a piece of a file, give the piece's length and add
    its first frame to the answer.

    Args:
        video_length: Frames of the video or piece.
        spec: Frames of a window.
        most: Windows wanted; a video too short for them gives as many as fit.

    Raises:
        ConfigError: `most` is below 1.
        DecodeError: The video has no frame.
    """
    if most < 1:
        raise ConfigError(f"{most} windows a video are too few; ask for at least 1")
    num_windows = max(min(most, video_length // spec.span), 1)
    starts: list[int] = segment_clips(video_length, spec, num_windows)[:, 0].tolist()
    return starts


def window_frames(first: int, video_length: int, spec: ClipSpec) -> ClipFrames:
    """Frames of the window that starts at `first`; where the video ends too early, its short policy fills up.

    Args:
        first: First frame of the window, counted from the start of the file.
        video_length: Frames of the file; for a piece of it, the number of the first frame after the piece.
        spec: Frames of a window.

    Raises:
        DecodeError: The window starts behind the last frame.
    """
    rest = min(video_length - first, spec.span)
    return first + uniform_clips(rest, spec, 1)[0]


def picture_positions(num_frames: int, num_pictures: int) -> list[int]:
    """Evenly spaced positions in a clip, each in the middle of its part; all of them where enough are wanted.

    Raises:
        ConfigError: `num_pictures` is below 1.
    """
    if num_pictures < 1:
        raise ConfigError(f"{num_pictures} pictures a clip are too few; ask for at least 1")
    num_pictures = min(num_pictures, num_frames)
    return [(2 * number + 1) * num_frames // (2 * num_pictures) for number in range(num_pictures)]
