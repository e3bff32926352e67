"""Training clips from files: our dataset and the loops that users write, on the same files and the same clips.

All variants give 32 frames at stride 2, resized to a short side of 256 by the same function and cropped to 224. The
loops take the centre; ours is the dataset of a training, which draws crop and flip.
"""

import math
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from torch import Tensor

from benchmarks.options import Options
from benchmarks.plain_loops import PLAIN_LOOPS
from benchmarks.rendered_videos import render_videos
from benchmarks.tables import times_faster
from t3d.bench.experiments import Experiment, Findings, Work, run_experiments
from t3d.bench.rounds import Step, Variant
from t3d.bench.tables import Row, Target
from t3d.commands._datasets import resolve
from t3d.data.clips import ClipKey, EpochSampler, TrainClips, seeded
from t3d.data.samples import Sample
from t3d.data.unlabelled import load_unlabelled
from t3d.errors import ConfigError, DataError, DecodeError
from t3d.training.loader import train_loader
from t3d.video.decode import open_video
from t3d.video.pyav_reader import PyAVVideo, forget_files
from t3d.video.reencode import NotFaithfulError, PreparedForm, prepare_video
from t3d.video.sampling import random_clip
from t3d.video.spec import AugmentSpec, ClipSpec, PixelSpec
from t3d.video.transforms import centre_view, resize

_CLIP, _PIXELS, _SEED = ClipSpec(num_frames=32, frame_stride=2), PixelSpec(), 0
_EPOCHS, _BATCH_SIZE = 4, 8
_NUM_VIDEOS = 8
_FIRST_VISIT_NOTE = (
    "Our reader keeps the packet index of a file; on a first visit, as in the first epoch, it reads the index. "
    "The plain loops open a file as their library does, at every visit."
)
_SAME_FILE, _PREPARED_FILE = 1.0, 8.0
"""Mean differences in levels of 255 up to which variants show the same frames; prepared pictures differ by 2 or 3."""


@dataclass(frozen=True, kw_only=True)
class Files:
    """Videos, long enough for a clip, and the prepared ones."""

    original: Sequence[Path]
    prepared: Sequence[Path]
    lengths: Sequence[int]
    left_out: Sequence[str] = ()
    """What could not be used, and why."""

    def clips(self) -> list[tuple[int, list[int]]]:
        """Number of the video and frames of each clip, drawn as `TrainClips` draws them in the first epochs."""
        return [
            (video, random_clip(length, _CLIP, seeded(_SEED, epoch, video))[0].tolist())
            for epoch in range(_EPOCHS)
            for video, length in enumerate(self.lengths)
        ]


def run(options: Options) -> Findings:
    """Prepare the videos, then time single clips on one thread, and epochs of the loader of a training.

    Raises:
        DataError: No video can be used; those that are too short or cannot be decoded are left out.
    """
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        files = prepare(_videos(options, folder), folder)
        experiments = [_single_clips(files, rounds=options.timed_rounds), _epochs(files, rounds=options.timed_rounds)]
        (single, epochs), _ = run_experiments(experiments, threads=options.cpu_threads)
        notes = [*_notes(files), _rates(single, _EPOCHS * len(files.lengths)), _FIRST_VISIT_NOTE]
    loops = len(PLAIN_LOOPS)
    fastest_first = sorted(single[:loops], key=lambda row: row.measured.median if row.measured.seconds else math.inf)
    tables = [experiments[0].table([*fastest_first, *single[loops:]]), experiments[1].table(epochs)]
    tables[0] = replace(tables[0], notes=notes)
    tables[1] = replace(tables[1], notes=[_rates(epochs, _num_batched(files))])
    return Findings(tables=[table.figures() for table in tables])


def plain(*, library: str, files: Files) -> Step:
    """A loop that users write.

    Raises:
        ConfigError: The library is not installed, or does not give the frames asked for.
    """
    read, clips = PLAIN_LOOPS[library], files.clips()
    try:
        for video, indices in clips:
            theirs = read(files.original[video], indices)
            _check_same(theirs, _frames(files.original[video], indices), bound=_SAME_FILE)
    except (ImportError, RuntimeError, OSError) as error:
        raise ConfigError(f"not installed, or does not load: {str(error).partition(chr(10))[0]}") from error
    return lambda: [centre_view(read(files.original[video], indices), _PIXELS) for video, indices in clips]


def ours(*, prepared: bool, files: Files, first_visit: bool = False) -> Step:
    """The dataset of a training, read in this process.

    Args:
        prepared: Which of the files.
        files: All of them.
        first_visit: Forget before each clip what earlier ones have shown of its file.

    Raises:
        ConfigError: A prepared file does not show what the original does.
    """
    for video, indices in files.clips() if prepared else ():
        new, old = (resize(_frames(paths[video], indices), _PIXELS) for paths in (files.prepared, files.original))
        _check_same(new, old[..., : new.shape[-2], : new.shape[-1]], bound=_PREPARED_FILE)
    clips = _train_clips(files, prepared=prepared)
    keys = [ClipKey(epoch, video) for epoch in range(_EPOCHS) for video in range(len(files.lengths))]

    def read(key: ClipKey) -> object:
        if first_visit:
            forget_files()
        return clips[key]

    return lambda: [read(key) for key in keys]


def loader(*, prepared: bool, files: Files, num_workers: int) -> Step:
    """The batches of some epochs."""
    sampler = EpochSampler(len(files.lengths), batch_size=_BATCH_SIZE, seed=_SEED)
    batches = train_loader(
        _train_clips(files, prepared=prepared),
        sampler,
        batch_size=_BATCH_SIZE,
        num_workers=num_workers,
        pin_memory=False,
    )

    def epochs() -> None:
        for epoch in range(_EPOCHS):
            sampler.start(epoch)
            for _ in batches:
                pass

    return epochs


def prepare(videos: Sequence[Path], folder: Path) -> Files:
    """Prepare every video that is long enough for a clip.

    Raises:
        DataError: There is none.
    """
    original: list[Path] = []
    prepared: list[Path] = []
    lengths: list[int] = []
    left_out: list[str] = []
    for path in videos:
        target = folder / f"prepared{len(original)}.mp4"
        try:
            length = _prepared(path, target)
        except (DecodeError, NotFaithfulError) as error:
            left_out.append(str(error))
            continue
        original.append(path)
        prepared.append(target)
        lengths.append(length)
    if not original:
        raise DataError(f"{left_out[0]}; no video can be used: name others")
    return Files(original=original, prepared=prepared, lengths=lengths, left_out=left_out)


def _videos(options: Options, folder: Path) -> list[Path]:
    if not options.data:
        return render_videos(folder, count=_NUM_VIDEOS)
    found = sorted({sample.path for sample in load_unlabelled(resolve(options.data[0])).samples})
    return found[:: max(1, len(found) // _NUM_VIDEOS)][:_NUM_VIDEOS]


def _prepared(path: Path, target: Path) -> int:
    """Prepare a video, and give its length."""
    with PyAVVideo(path) as video:
        if len(video) < _CLIP.span:
            raise DecodeError(f"{path}: has {len(video)} frames, fewer than the {_CLIP.span} of a clip")
        prepare_video(video, target, PreparedForm(short_side=_PIXELS.resize), first=0, last=len(video))
        return len(video)


def _single_clips(files: Files, *, rounds: int) -> Experiment:
    variants = [Variant(name=name, build=plain, arguments={"library": name, "files": files}) for name in PLAIN_LOOPS]
    variants += [
        Variant(
            name=f"ours, {kind} files{', first visit' if first_visit else ''}",
            build=ours,
            arguments={"prepared": kind == "prepared", "files": files, "first_visit": first_visit},
        )
        for first_visit in (True, False)
        for kind in ("original", "prepared")
    ]
    num_clips = _EPOCHS * len(files.lengths)
    return Experiment(
        title=f"{num_clips} clips of 32 frames at stride 2 to 224 x 224, one after the other, one thread",
        work=[Work(variant=variant) for variant in variants],
        rounds=rounds,
        targets=_targets,
    )


def _targets(rows: Sequence[Row]) -> list[Target]:
    what = "prepared files against the fastest loop on the original ones"
    return [Target(what=what, unit="x faster", bound=2.0, reached=times_faster(rows, ["ours, prepared files"]))]


def _epochs(files: Files, *, rounds: int) -> Experiment:
    variants = [
        Variant(
            name=f"{kind} files, {num_workers} worker{'s'[: num_workers - 1]}",
            build=loader,
            arguments={"prepared": kind == "prepared", "files": files, "num_workers": num_workers},
        )
        for num_workers in (1, 2)
        for kind in ("original", "prepared")
    ]
    return Experiment(
        title=f"{_num_batched(files)} clips from the loader of a training, in batches of {_BATCH_SIZE}",
        work=[Work(variant=variant) for variant in variants],
        rounds=rounds,
        memory=False,
    )


def _num_batched(files: Files) -> int:
    return _EPOCHS * (len(files.lengths) // _BATCH_SIZE * _BATCH_SIZE or len(files.lengths))


def _train_clips(files: Files, *, prepared: bool) -> TrainClips:
    paths = files.prepared if prepared else files.original
    samples = [Sample(name=str(path), path=path, label=0, group="") for path in paths]
    augment = AugmentSpec()
    return TrainClips(
        samples, clip=_CLIP, pixels=_PIXELS, augment=augment, seed=_SEED, open_video=partial(open_video, num_threads=1)
    )


def _frames(path: Path, indices: Sequence[int]) -> Tensor:
    with open_video(path) as video:
        return video.frames(indices)


def _check_same(one: Tensor, other: Tensor, *, bound: float) -> None:
    if one.shape != other.shape:
        raise ConfigError(f"gives frames of shape {tuple(one.shape)} instead of {tuple(other.shape)}")
    difference = float((one.short() - other).abs().float().mean())
    if difference > bound:
        raise ConfigError(f"gives other frames than those asked for: they are {difference:.1f} levels from them")


def _notes(files: Files) -> list[str]:
    before, after = (sum(path.stat().st_size for path in paths) for paths in (files.original, files.prepared))
    kilobits = before * 8 / 1000 / sum(files.lengths)
    sizes = f"{before / 1e6:.2f} MB, {kilobits:.1f} kbit a frame; prepared {after / 1e6:.2f} MB"
    return [f"{len(files.lengths)} videos: {sizes}.", *(f"Left out: {reason}." for reason in files.left_out)]


def _rates(rows: Sequence[Row], num_clips: int) -> str:
    measured = [row.measured for row in rows if not row.measured.error]
    return f"Clips a second: {', '.join(f'{one.name} {num_clips / one.median:.0f}' for one in measured)}."
