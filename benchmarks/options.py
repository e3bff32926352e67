"""Kinds of benchmarks, their flags, and which flag belongs to which kind."""

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import torch
from tyro.conf import Positional, arg

from t3d.bench.steps import Shape, check_clips
from t3d.bounds import at_least, check_bounds
from t3d.commands.bench import device_of
from t3d.config.fields import Accelerator
from t3d.errors import ConfigError
from t3d.models.registry import architecture, native_input

Kind = Literal[
    "train",
    "infer",
    "load",
    "transfer",
    "startup",
    "growth",
    "tricks",
    "bf16-gradients",
    "prepared-forms",
    "coding-error",
    "optical-flow",
    "int8-accuracy",
    "waiting",
]

NETWORKS = ("t3d_121", "densenet3d_121")
_CLIPS = ("arch", "batch_size", "num_frames", "crop_size", "rounds", "threads")
_FLAGS: dict[Kind, tuple[str, ...]] = {
    "train": (*_CLIPS, "accelerator", "compile"),
    "infer": (*_CLIPS, "accelerator"),
    "load": ("data", "rounds"),
    "transfer": ("arch", "batch_size", "clips", "rounds", "threads"),
    "startup": ("rounds",),
    "growth": (*_CLIPS, "accelerator"),
    "tricks": _CLIPS,
    "bf16-gradients": (),
    "prepared-forms": ("data", "rounds"),
    "coding-error": (),
    "optical-flow": ("data", "resize"),
    "int8-accuracy": ("data",),
    "waiting": ("rounds", "threads"),
}
"""Every kind, and the flags it reads besides --output and --json."""
_ROUNDS: dict[Kind, int] = {"growth": 3, "prepared-forms": 8}
_NEEDS_DATA = {"prepared-forms": "VIDEO", "optical-flow": "VIDEO", "int8-accuracy": "RUN"}


@dataclass(frozen=True, kw_only=True)
class Options:
    """Measure T3D against other ways of doing the same work, in turn, on this machine."""

    kind: Annotated[Positional[Kind], arg(metavar="KIND")]
    """train, infer: a network; load: clips from files; transfer: an epoch; startup: the program; growth: with size;
    tricks: what makes training fast, one by one; the others: see the module of that name."""
    data: Annotated[Positional[tuple[Path, ...]], arg(metavar="DATA")] = ()
    """Folder, list or CSV of videos, of which eight are taken; left out, rendered ones (load). Videos (prepared-forms,
    optical-flow). A run of temporal-shapes (int8-accuracy)."""
    arch: tuple[str, ...] = ()
    """Networks; left out, t3d_121 and densenet3d_121 (train, infer), t3d_121 (growth, tricks), t3d_tiny (transfer)."""
    batch_size: Annotated[int | None, at_least(1)] = None
    """Clips of a step; left out, 4 (train, tricks), 1 and then 4 (infer), 1 (growth) or 16 (transfer)."""
    num_frames: Annotated[int | None, at_least(1)] = None
    """Frames of a clip; left out, 16."""
    crop_size: Annotated[int | None, at_least(1)] = None
    """Height and width of a clip; left out, 112, or 64 (growth)."""
    clips: Annotated[int | None, at_least(1)] = None
    """Clips of an epoch; left out, 192 (transfer)."""
    compile: bool = False
    """Also measure compiled steps, which take minutes to build (train)."""
    resize: Annotated[int, at_least(1)] = 256
    """Short side of the pictures whose flow is computed (optical-flow)."""
    accelerator: Accelerator = "auto"
    """Where the networks are (train, infer, growth); the others are measured on the CPU."""
    rounds: Annotated[int | None, at_least(1)] = None
    """Timed steps of each variant; the variants take turns. Left out, 5, 3 (growth) or 8 (prepared-forms)."""
    threads: Annotated[int | None, at_least(1)] = None
    """CPU threads of every variant; left out, one for each core."""
    output: Path | None = None
    """Folder for the record as Markdown and JSON, and for figures (growth)."""
    json: bool = False
    """Print JSON."""

    def __post_init__(self) -> None:
        check_bounds(self)
        for name in sorted({name for flags in _FLAGS.values() for name in flags}):
            kinds = [kind for kind, flags in _FLAGS.items() if name in flags]
            if getattr(self, name) != getattr(Options, name) and self.kind not in kinds:
                flag = " ".join(map(str, self.data)) if name == "data" else f"--{name.replace('_', '-')}"
                raise ConfigError(f"{flag} is for {', '.join(kinds)}, not for {self.kind}; leave it out")
        if not self.data and self.kind in _NEEDS_DATA:
            raise ConfigError(f"{self.kind} needs at least one {_NEEDS_DATA[self.kind]}")
        if len(self.data) > 1 and self.kind in ("load", "int8-accuracy"):
            raise ConfigError(f"{self.data[1]}: {self.kind} takes one DATA; leave the others out")
        for arch in self.arch:
            architecture(arch)

    @property
    def timed_rounds(self) -> int:
        """Rounds given, or those usual for the kind."""
        return self.rounds or _ROUNDS.get(self.kind, 5)

    @property
    def cpu_threads(self) -> int:
        """Threads of every variant; one where that is what a worker of a training has."""
        return (self.threads or os.cpu_count() or 1) if "threads" in _FLAGS[self.kind] else 1

    @property
    def device(self) -> str:
        """Where networks are.

        Raises:
            ConfigError: A GPU was asked for and there is none.
        """
        return device_of(self.accelerator) if "accelerator" in _FLAGS[self.kind] else "cpu"

    def shape(self, arch: str, *, batch_size: int, crop_size: int = 112) -> Shape:
        """Clips of a step (B, C, T, H, W), by default of this size.

        Raises:
            ConfigError: The network does not take them.
        """
        edge = self.crop_size or crop_size
        shape = self.batch_size or batch_size, native_input(arch)[0], self.num_frames or 16, edge, edge
        check_clips(arch, shape, training=self.kind in ("train", "tricks"))
        return shape


def use_one_thread() -> None:
    """Compute in this process on one thread, as a process that decodes for a training does."""
    torch.set_num_threads(1)
