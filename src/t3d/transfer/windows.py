"""Windows of a video that a teacher sees, and their images."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from torch.utils.data import IterableDataset, get_worker_info

from t3d.data.clips import OpenVideo, frames_of
from t3d.data.samples import Sample
from t3d.errors import ConfigError, DecodeError
from t3d.tensors import Clip, ClipFrames
from t3d.video.sampling import segment_clips, uniform_clips
from t3d.video.spec import ClipSpec, PixelSpec
from t3d.video.transforms import centre_view


def window_starts(video_length: int, spec: ClipSpec, most: int) -> list[int]:
    """First frames of non-overlapping windows, centred in equal parts of the video.

    A video shorter than the span has one window, from frame 0. For a clip of a file, pass the clip's length and add its
    first frame to the result.

    Args:
        video_length: Frames of the video or clip.
        spec: Frames of a window.
        most: Maximum number of windows; short videos have as many as fit.

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
    """Frames of the window that starts at `first`; if the video ends too early, `spec.short` applies.

    Args:
        first: First frame of the window, counted from the start of the file.
        video_length: Frames of the file; for a clip of it, the index of the first frame after the clip.
        spec: Frames of a window.

    Raises:
        DecodeError: The window starts after the last frame.
    """
    rest = min(video_length - first, spec.span)
    return first + uniform_clips(rest, spec, 1)[0]


def picture_positions(num_frames: int, num_pictures: int) -> list[int]:
    """Evenly spaced positions in a clip, centred in equal parts; at most all of them.

    Raises:
        ConfigError: `num_pictures` is below 1.
    """
    if num_pictures < 1:
        raise ConfigError(f"{num_pictures} pictures a clip are too few; ask for at least 1")
    num_pictures = min(num_pictures, num_frames)
    return [(2 * number + 1) * num_frames // (2 * num_pictures) for number in range(num_pictures)]


@dataclass(frozen=True, kw_only=True)
class Window:
    """The images of one window, or the error."""

    index: int
    """Position of the video in the list."""
    start: int
    """First frame of the window, counted from the start of the file."""
    pictures: Clip | None
    """(C, pictures, H, W)."""
    num_windows: int
    """Number of windows of the video."""
    error: str = ""


class WindowPictures(IterableDataset[Window]):
    """All windows of all videos, one at a time; worker k of n reads videos k, k + n, ...

    Args:
        samples: Videos, or clips of a list.
        clip: Frames of a window.
        pixels: Resizing and cropping of images.
        num_pictures: Images per window.
        most: Maximum number of windows of a video.
        open_video: Opens a path.
    """

    def __init__(
        self,
        samples: Sequence[Sample],
        *,
        clip: ClipSpec,
        pixels: PixelSpec,
        num_pictures: int,
        most: int,
        open_video: OpenVideo,
    ) -> None:
        self.samples = samples
        self.clip = clip
        self.pixels = pixels
        self.positions = picture_positions(clip.num_frames, num_pictures)
        self.most = most
        self.open_video = open_video

    def __iter__(self) -> Iterator[Window]:
        worker = get_worker_info()
        first, step = (0, 1) if worker is None else (worker.id, worker.num_workers)
        for index in range(first, len(self.samples), step):
            try:
                yield from self._windows(index)
            except DecodeError as error:
                yield Window(index=index, start=0, pictures=None, num_windows=0, error=str(error))

    def _windows(self, index: int) -> Iterator[Window]:
        sample = self.samples[index]
        with self.open_video(sample.path) as video:
            first, last = frames_of(video, sample)
            starts = [first + start for start in window_starts(last - first, self.clip, self.most)]
            for start in starts:
                frames = video.frames(window_frames(start, last, self.clip)[self.positions])
                pictures = centre_view(frames, self.pixels)
                yield Window(index=index, start=start, pictures=pictures, num_windows=len(starts))
