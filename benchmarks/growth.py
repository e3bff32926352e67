"""How time and memory grow with frames, resolution, batch and number of videos: the same work at several sizes."""

import math
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from itertools import groupby
from pathlib import Path

import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, NullFormatter

from benchmarks.options import Options
from t3d.bench.experiments import Experiment, Findings, Work, run_experiments
from t3d.bench.rounds import Measured, Step, Variant
from t3d.bench.steps import Shape, count_flops, prepared_scorer, prepared_step, scoring_step, training_step
from t3d.bench.tables import Row, Table
from t3d.data.samples import Sample
from t3d.inference.scoring import score_videos
from t3d.models import create_model
from t3d.models.checkpoints import ModelCard
from t3d.models.layers import times
from t3d.video.encode import write_video
from t3d.video.spec import ClipSpec, PixelSpec, ViewSpec

Sizes = Sequence[int]

AXES: Mapping[str, Sizes] = {
    "frames": (16, 24, 32, 48, 64),
    "resolution": (64, 96, 128, 160, 224),
    "batch": (1, 2, 4, 8, 16),
}
"""What is varied by itself, and the sizes it takes."""

NUM_VIDEOS: Sizes = (4, 8, 16, 32, 64)


def run(options: Options) -> Findings:
    """Vary one length of the clips at a time, then the number of videos; draw and fit how cost grows."""
    with tempfile.TemporaryDirectory() as folder:
        plans = [
            plan
            for arch in options.arch or ("t3d_121",)
            for plan in _plans(arch, options.shape(arch, batch_size=1, crop_size=64), Path(folder), options)
        ]
        rows, _ = run_experiments([plan.experiment for plan in plans], threads=options.cpu_threads)
    growths = [plan.growth(own) for plan, own in zip(plans, rows, strict=True)]
    figures = {
        f"{arch}-{axis}": growth_figure(list(works))
        for (arch, axis), works in groupby(growths, key=lambda growth: (growth.arch, growth.axis))
    }
    return Findings(tables=[growth.table().figures() for growth in growths], figures=figures)


@dataclass(frozen=True, kw_only=True)
class PowerLaw:
    """`factor * size ** exponent`."""

    exponent: float
    error: float
    """Standard error of the exponent."""
    factor: float

    def __call__(self, size: int | float) -> float:
        """The value at a size."""
        return float(self.factor * size**self.exponent)

    def __str__(self) -> str:
        return f"{self.exponent:.2f} ± {self.error:.2f}"


def fit_power_law(sizes: Sequence[int | float], values: Sequence[int | float]) -> PowerLaw | None:
    """Fit logarithms by least squares; None for fewer than three points, which leave no error."""
    if len(sizes) < 3:
        return None
    (exponent, offset), covariance = np.polyfit(np.log(sizes), np.log(values), deg=1, cov=True)
    return PowerLaw(exponent=float(exponent), error=math.sqrt(covariance[0, 0]), factor=math.exp(offset))


@dataclass(frozen=True, kw_only=True)
class Growth:
    """One kind of work at several sizes of one thing."""

    arch: str
    work: str
    axis: str
    sizes: Sizes
    rows: Sequence[Row]
    setting: str
    """What stays the same."""

    @property
    def measured(self) -> list[Measured]:
        """What each size took."""
        return [row.measured for row in self.rows]

    @property
    def time(self) -> PowerLaw | None:
        """Law of the median seconds; None where too few sizes could be measured."""
        return self._law([one.median if one.seconds else 0.0 for one in self.measured])

    @property
    def memory(self) -> PowerLaw | None:
        """Law of the peak memory."""
        return self._law([one.peak_bytes for one in self.measured])

    def table(self) -> Table:
        """Rows against the smallest size, with the laws below."""
        laws = {"time": self.time, "memory": self.memory}
        facts = {"sizes": list(self.sizes), **{name: law and asdict(law) for name, law in laws.items()}}
        note = f"Exponents: time {self.time or 'not known'}, memory {self.memory or 'not known'}. {self.setting}."
        title = f"{self.work.capitalize()} against {self.axis}"
        return Table(title=title, rows=self.rows, ratio="x the time", notes=[note], facts=facts)

    def _law(self, values: Sequence[int | float]) -> PowerLaw | None:
        known = [(size, value) for size, value in zip(self.sizes, values, strict=True) if value > 0]
        return fit_power_law([size for size, _ in known], [value for _, value in known])


@dataclass(frozen=True, kw_only=True)
class _Plan:
    """A growth that is still to be measured."""

    empty: Growth
    experiment: Experiment

    def growth(self, rows: Sequence[Row]) -> Growth:
        return replace(self.empty, rows=rows)


def evaluation_step(*, arch: str, videos: Sequence[Path], num_frames: int, edge: int, device: str) -> Step:
    """Build a network and return a step: score every video, from files to scores."""
    pixels = PixelSpec(resize=edge, crop_size=edge)
    card = ModelCard(arch=arch, overrides={}, labels=("a", "b"), clip=ClipSpec(num_frames=num_frames), pixels=pixels)
    scorer = prepared_scorer(create_model(arch).eval(), pixels, device)
    samples = [Sample(name=str(video), path=video, label=0, group=str(video)) for video in videos]

    def step() -> None:
        assert all(not video.error for video in score_videos(scorer, samples, card=card, views=ViewSpec()))

    return step


def _plans(arch: str, shape: Shape, folder: Path, options: Options) -> list[_Plan]:
    lengths = [
        _of_lengths(arch, shape, axis, work, rounds=options.timed_rounds, device=options.device)
        for axis in AXES
        for work in _WORKS
    ]
    videos = write_videos(folder / arch, frames=2 * shape[2], edge=shape[-1])
    return [*lengths, _of_videos(arch, shape, videos, rounds=options.timed_rounds, device=options.device)]


def _of_lengths(arch: str, shape: Shape, axis: str, work: str, *, rounds: int, device: str) -> _Plan:
    """Forward passes or training steps while one length of the clips is varied."""
    build, name, counted = _WORKS[work]
    variants = [
        Work(
            variant=Variant(
                name=f"{axis} {size}", build=build, arguments={name: arch, "shape": varied, "device": device}
            ),
            flops=count_flops(counted, **{name: arch}, shape=varied),
        )
        for size in AXES[axis]
        for varied in (_varied(shape, axis, size),)
    ]
    setting = f"{arch}, otherwise clips of {times(shape)} (B x C x T x H x W)"
    return _plan(arch, work, axis, AXES[axis], variants, setting=setting, rounds=rounds)


def _of_videos(arch: str, shape: Shape, videos: Sequence[Path], *, rounds: int, device: str) -> _Plan:
    """The scoring of more and more videos."""
    frames, edge = shape[2], shape[-1]
    given = {"arch": arch, "num_frames": frames, "edge": edge, "device": device}
    flops = count_flops(prepared_step, source=arch, shape=(2, *shape[1:]))
    variants = [
        Work(
            variant=Variant(
                name=f"videos {count}", build=evaluation_step, arguments={**given, "videos": videos[:count]}
            ),
            flops=count * flops,
        )
        for count in NUM_VIDEOS
    ]
    setting = f"{arch}, two clips of {frames} x {edge} x {edge} (T x H x W) a video"
    return _plan(arch, "evaluation", "videos", NUM_VIDEOS, variants, setting=setting, rounds=rounds)


def _plan(
    arch: str, work: str, axis: str, sizes: Sizes, variants: Sequence[Work], *, setting: str, rounds: int
) -> _Plan:
    empty = Growth(arch=arch, work=work, axis=axis, sizes=sizes, rows=(), setting=setting)
    return _Plan(
        empty=empty, experiment=Experiment(title=f"{work} against {axis}, {arch}", work=variants, rounds=rounds)
    )


def write_videos(folder: Path, *, frames: int, edge: int) -> list[Path]:
    """Write as many videos of noise as the largest evaluation reads."""
    folder.mkdir()
    videos = [folder / f"{index}.mp4" for index in range(max(NUM_VIDEOS))]
    generator = torch.Generator().manual_seed(0)
    for video in videos:
        write_video(video, torch.randint(256, (frames, edge, edge, 3), dtype=torch.uint8, generator=generator))
    return videos


_WORKS: Mapping[str, tuple[Callable[..., Step], str, Callable[..., Step]]] = {
    "forward pass": (scoring_step, "source", prepared_step),
    "training step": (training_step, "arch", training_step),
}
"""Builds the step; what it calls the network; and builds the step whose operations are counted."""


def _varied(shape: Shape, axis: str, size: int) -> Shape:
    batch, channels, frames, height, width = shape
    if axis == "batch":
        return size, channels, frames, height, width
    if axis == "frames":
        return batch, channels, size, height, width
    return batch, channels, frames, size, size


def growth_figure(growths: Sequence[Growth]) -> Figure:
    """Draw every work over one axis: seconds on the left, megabytes on the right."""
    figure = Figure(figsize=(10, 4), layout="constrained")
    left, right = figure.subplots(1, 2)
    for growth in growths:
        seconds = [measured.median if measured.seconds else None for measured in growth.measured]
        megabytes = [measured.peak_bytes / 1e6 or None for measured in growth.measured]
        _draw(left, growth, seconds, growth.time, scale=1.0)
        _draw(right, growth, megabytes, growth.memory, scale=1e-6)
    for axes, quantity in ((left, "seconds"), (right, "peak memory, MB")):
        axes.set_ylabel(quantity)
        _label(axes, growths[0])
    return figure


def _draw(axes: Axes, growth: Growth, values: Sequence[float | None], law: "PowerLaw | None", *, scale: float) -> None:
    """Points, and the law as a line through them."""
    points = [(size, value) for size, value in zip(growth.sizes, values, strict=True) if value is not None]
    if not points:
        return
    name = growth.work if law is None else f"{growth.work}: exponent {law}"
    (drawn,) = axes.plot(*zip(*points, strict=True), "o", label=name)
    if law is not None:
        axes.plot(growth.sizes, [scale * law(size) for size in growth.sizes], color=drawn.get_color(), linewidth=1)


def _label(axes: Axes, growth: Growth) -> None:
    axes.set_xscale("log")
    axes.set_yscale("log")
    axes.set_xlabel(growth.axis)
    axes.set_xticks(growth.sizes, list(map(str, growth.sizes)))
    axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axes.yaxis.set_major_formatter(lambda value, _: f"{value:g}")
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_minor_formatter(NullFormatter())
    axes.grid(which="both", alpha=0.3)
    axes.set_title(growth.setting, fontsize=8)
    axes.legend()
