"""How time and memory grow with frames, resolution, batch and number of videos: the same work at several sizes."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import torch

from t3d.bench.infer import scoring_step
from t3d.bench.networks import Shape, build_network
from t3d.bench.powerlaw import PowerLaw, fit_power_law
from t3d.bench.rounds import Arm, Measured, Step, measure
from t3d.bench.tables import Row, Table
from t3d.bench.train import training_step
from t3d.data.samples import Sample
from t3d.inference.scorer import torch_scorer
from t3d.inference.scoring import score_videos
from t3d.models.checkpoints import ModelCard
from t3d.models.sizes import times
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


@dataclass(frozen=True, kw_only=True)
class Growth:
    """One kind of work at several sizes of one thing."""

    arch: str
    work: str
    axis: str
    sizes: Sizes
    measured: Sequence[Measured]
    setting: str
    """What stays the same."""

    @property
    def time(self) -> PowerLaw | None:
        """Law of the median seconds; None where too few sizes could be measured."""
        return fit_power_law(*self._known([one.median if one.seconds else 0.0 for one in self.measured]))

    @property
    def memory(self) -> PowerLaw | None:
        """Law of the peak memory."""
        return fit_power_law(*self._known([one.peak_bytes for one in self.measured]))

    def table(self) -> Table:
        """Rows against the smallest size, with the laws below."""
        rows = [Row(measured=measured) for measured in self.measured]
        laws = {"time": self.time, "memory": self.memory}
        facts = {"sizes": list(self.sizes), **{name: law and asdict(law) for name, law in laws.items()}}
        note = f"Exponents: time {self.time or 'not known'}, memory {self.memory or 'not known'}. {self.setting}."
        title = f"{self.work.capitalize()} against {self.axis}"
        return Table(title=title, rows=rows, ratio="x the time", notes=[note], facts=facts)

    def _known(self, values: Sequence[int | float]) -> tuple[list[int], list[int | float]]:
        pairs = [(size, value) for size, value in zip(self.sizes, values, strict=True) if value > 0]
        return [size for size, _ in pairs], [value for _, value in pairs]


def grow_networks(arch: str, shape: Shape, *, rounds: int, threads: int, device: str) -> list[Growth]:
    """Time forward passes and steps of training while one length of the clips at a time is varied.

    Args:
        arch: Name of the network.
        shape: Clips of which the other lengths are.
        rounds: Timed steps of each size.
        threads: CPU threads.
        device: Where.
    """
    found = []
    for axis, sizes in AXES.items():
        for work, build in _WORKS.items():
            arms = [
                Arm(
                    name=f"{axis} {size}",
                    build=build,
                    arguments={"arch": arch, "shape": _varied(shape, axis, size), "device": device},
                )
                for size in sizes
            ]
            measured = measure(arms, rounds=rounds, threads=threads)
            setting = f"{arch}, otherwise clips of {times(shape)} (B x C x T x H x W)"
            found.append(Growth(arch=arch, work=work, axis=axis, sizes=sizes, measured=measured, setting=setting))
    return found


def grow_evaluation(arch: str, shape: Shape, folder: Path, *, rounds: int, threads: int, device: str) -> Growth:
    """Time the scoring of more and more videos, from files to scores, decoding included.

    Args:
        arch: Name of the network.
        shape: Clips of which the frames and edges are.
        folder: Where the videos are written.
        rounds: Timed scorings of each number.
        threads: CPU threads.
        device: Where the network is.
    """
    frames, edge = shape[2], shape[-1]
    videos = [folder / f"{index}.mp4" for index in range(max(NUM_VIDEOS))]
    generator = torch.Generator().manual_seed(0)
    for video in videos:
        write_video(video, torch.randint(256, (2 * frames, edge, edge, 3), dtype=torch.uint8, generator=generator))
    arms = [
        Arm(
            name=f"videos {count}",
            build=evaluation_step,
            arguments={"arch": arch, "videos": videos[:count], "num_frames": frames, "edge": edge, "device": device},
        )
        for count in NUM_VIDEOS
    ]
    setting = f"{arch}, two clips of {frames} x {edge} x {edge} (T x H x W) a video"
    measured = measure(arms, rounds=rounds, threads=threads)
    return Growth(arch=arch, work="evaluation", axis="videos", sizes=NUM_VIDEOS, measured=measured, setting=setting)


def evaluation_step(*, arch: str, videos: Sequence[Path], num_frames: int, edge: int, device: str) -> Step:
    """Build a network and return a step: score every video."""
    pixels = PixelSpec(resize=edge, crop_size=edge)
    card = ModelCard(arch=arch, overrides={}, labels=("a", "b"), clip=ClipSpec(num_frames=num_frames), pixels=pixels)
    scorer = torch_scorer(build_network(arch, fold=True, device=device), pixels)
    samples = [Sample(name=str(video), path=video, label=0, group=str(video)) for video in videos]

    def step() -> None:
        assert all(not video.error for video in score_videos(scorer, samples, card=card, views=ViewSpec()))

    return step


_WORKS: Mapping[str, Callable[..., Step]] = {"forward pass": scoring_step, "training step": training_step}


def _varied(shape: Shape, axis: str, size: int) -> Shape:
    batch, channels, frames, height, width = shape
    if axis == "batch":
        return size, channels, frames, height, width
    if axis == "frames":
        return batch, channels, size, height, width
    return batch, channels, frames, size, size
