"""Re-encode a video once so that clips of it are read fast, and verify the file against the original.

H.264 that is cheap to decode (no CABAC, no loop filter, no B-frames), in the size of the training, with a keyframe
every few frames: a clip costs little more than its own frames, wherever it starts, and needs no resizing.
docs/prepared-files.md has measurements of other encodings.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path

import av
from torch import Tensor

from t3d.errors import T3DError
from t3d.files import complete
from t3d.video.encode import encode
from t3d.video.pyav_reader import PyAVVideo
from t3d.video.reader import FRAMES_AT_ONCE, size_changes
from t3d.video.spec import PixelSpec, PreparedForm
from t3d.video.transforms import resize

_NUM_COMPARED = 8
_MAX_DIFFERENCE = 8.0
"""Maximum mean absolute difference of a frame from the resized original, in levels of 255; at the default quality it is
2 or 3, of which 1.5 come from the halved resolution of colours."""
_MAX_SHIFT_SECONDS = 0.001


class NotFaithfulError(T3DError):
    """A decodable video cannot be re-encoded faithfully."""


def prepare_video(video: PyAVVideo, target: Path, form: PreparedForm, *, first: int, last: int) -> None:
    """Write the frames from `first` to `last` (excluded), and verify the file before it gets its name.

    It is MP4 whatever the suffix of its name. Frames and times are those of the video, one by one.

    Raises:
        DecodeError: A frame cannot be decoded.
        NotFaithfulError: The encoder does not support the frames, or the file differs from the video.
        OSError: The file cannot be written.
    """
    times_seconds = [time - video.times_seconds()[first] for time in video.times_seconds()[first:last]]
    kept: dict[int, Tensor] = {}
    frames = _keeping(_resized(video, first, last, form.short_side), _spread(last - first), kept)
    with complete(target) as unfinished:
        try:
            with unfinished.open("wb") as file, av.open(file, "w", format="mp4") as container:
                encode(container, frames, fps=video.fps, options=form.options, times_seconds=times_seconds)
        except av.error.FFmpegError as error:  # a full disk raises OSError instead, from `file`
            reason = " ".join(str(error).split())
            raise NotFaithfulError(f"{video.name}: its pictures cannot be encoded ({reason})") from error
        _check(unfinished, times_seconds, kept, name=video.name)


def _resized(video: PyAVVideo, first: int, last: int, short_side: int) -> Iterator[Tensor]:
    """Frames (H, W, 3), all of one size."""
    size = None
    for start in range(first, last, FRAMES_AT_ONCE):
        pictures = video.frames(range(start, min(start + FRAMES_AT_ONCE, last)))
        size = size or pictures.shape[1:]
        if pictures.shape[1:] != size:
            raise size_changes(video.name)
        yield from resize(pictures, PixelSpec(resize=short_side, crop_size=1)).permute(0, 2, 3, 1)


def _spread(length: int) -> list[int]:
    """Evenly spaced frames from the first to the last."""
    return sorted({step * (length - 1) // (_NUM_COMPARED - 1) for step in range(_NUM_COMPARED)})


def _keeping(frames: Iterable[Tensor], numbers: Sequence[int], kept: dict[int, Tensor]) -> Iterator[Tensor]:
    """Pass frames on, and keep those with these indices."""
    for number, frame in enumerate(frames):
        if number in numbers:
            kept[number] = frame.clone()  # not the frames in the same tensor
        yield frame


def _check(path: Path, times_seconds: Sequence[float], kept: Mapping[int, Tensor], *, name: str) -> None:
    """Compare a written file with the frames and times it was made of.

    Raises:
        NotFaithfulError: Seeking fails, or number, times or content of frames differ.
    """
    with PyAVVideo(path) as written:
        shifts = [abs(new - old) for new, old in zip(written.times_seconds(), times_seconds, strict=False)]
        if not written.is_seekable or len(written) != len(times_seconds) or max(shifts) > _MAX_SHIFT_SECONDS:
            raise NotFaithfulError(
                f"{name}: prepared, it has {len(written)} frames instead of {len(times_seconds)}, or other times"
            )
        for number, frame in kept.items():
            picture = written.frames([number])[0]
            difference = float((picture.short() - frame[: picture.shape[0], : picture.shape[1]]).abs().float().mean())
            if difference > _MAX_DIFFERENCE:
                raise NotFaithfulError(
                    f"{name}: prepared, frame {number} is {difference:.1f} levels from the original where "
                    f"{_MAX_DIFFERENCE:g} are allowed"
                )
