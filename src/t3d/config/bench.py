"""The command that measures: bench."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from tyro.conf import Positional, arg

from t3d.config.checks import at_least
from t3d.config.names import Accelerator, BenchKind
from t3d.errors import ConfigError


@dataclass(frozen=True, kw_only=True)
class BenchConfig:
    """Measure this package beside other ways of doing the same work, in turn, on this machine."""

    kind: Annotated[Positional[BenchKind], arg(metavar="KIND")]
    """train, infer: a network; load: clips from files; transfer: an epoch; startup: the program; growth: with size."""
    data: Annotated[Positional[Path | None], arg(metavar="DATA")] = None
    """Folder, list or CSV of videos to load, of which eight are taken; left out, rendered ones (load)."""
    arch: tuple[str, ...] = ()
    """Networks; left out, t3d_121 and densenet3d_121 (train, infer), t3d_121 (growth) or t3d_tiny (transfer)."""
    batch_size: int | None = None
    """Clips of a step; left out, 4 (train), 1 and then 4 (infer), 1 (growth) or 16 (transfer)."""
    num_frames: int | None = None
    """Frames of a clip; left out, 16 (train, infer, growth)."""
    crop_size: int | None = None
    """Height and width of a clip; left out, 112 (train, infer) or 64 (growth)."""
    clips: int | None = None
    """Clips of an epoch; left out, 192 (transfer)."""
    compile: bool = False
    """Also measure compiled steps, which take minutes to build (train)."""
    accelerator: Accelerator = "auto"
    """Where the networks are (train, infer, growth); the others are measured on the CPU."""
    rounds: int | None = None
    """Timed steps of each arm; the arms take turns. Left out, 5, or 3 (growth)."""
    threads: int | None = None
    """CPU threads of every arm; left out, one for each core (train, infer, transfer, growth)."""
    output: Path | None = None
    """Folder for the tables as Markdown and JSON, and for pictures (growth)."""
    json: bool = False
    """Print JSON."""

    def __post_init__(self) -> None:
        at_least(1, rounds=self.rounds, threads=self.threads, batch_size=self.batch_size, clips=self.clips)
        at_least(1, num_frames=self.num_frames, crop_size=self.crop_size)
        if self.data is not None and self.kind != "load":
            raise ConfigError(f"{self.data}: only t3d bench load takes videos; leave them out")
        for name, kinds in _OF_KINDS.items():
            if getattr(self, name) != getattr(BenchConfig, name) and self.kind not in kinds:
                flag = f"--{name.replace('_', '-')}"
                raise ConfigError(f"{flag} is for t3d bench {', '.join(kinds)}, not for {self.kind}; leave it out")


_NETWORKS: tuple[BenchKind, ...] = ("train", "infer", "growth")
_OF_KINDS: dict[str, tuple[BenchKind, ...]] = {
    "arch": (*_NETWORKS, "transfer"),
    "batch_size": (*_NETWORKS, "transfer"),
    "num_frames": _NETWORKS,
    "crop_size": _NETWORKS,
    "clips": ("transfer",),
    "compile": ("train",),
    "accelerator": _NETWORKS,
    "threads": ("train", "infer", "transfer", "growth"),
}
"""Which kinds a flag says something to."""
