"""A few pictures of every window of every video, ready for a 2D network. What it makes of them is elsewhere."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from torch.utils.data import IterableDataset, get_worker_info

from t3d.data.clips import OpenVideo, frames_of
from t3d.data.samples import Sample
from t3d.data.windows import picture_positions, window_frames, window_starts
from t3d.errors import DecodeError
from t3d.tensors import Clip
from t3d.video.spec import ClipSpec, PixelSpec
from t3d.video.transforms import centre_view


@dataclass(frozen=True, kw_only=True)
class Window:
    """The pictures of one window; or why there are none."""

    index: int
    """Position of the video in the list."""
    start: int
    """First frame of the window, counted from the start of the file."""
    pictures: Clip | None
    """(C, pictures, H, W)."""
    num_windows: int
    """Windows of the whole video."""
    error: str = ""


class WindowPictures(IterableDataset[Window]):
    """All windows of all videos, one at a time; worker k of n reads videos k, k + n, ...

    Args:
        samples: Videos, or pieces of some.
        clip: Frames of a window.
        pixels: How pictures are resized and cropped.
        num_pictures: Pictures of each window.
        most: Windows of each video at most.
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
