"""Scoring clips: the network written plainly against ours, by every engine. Weights are random; no data is read."""

from collections.abc import Callable, Sequence
from contextlib import nullcontext
from dataclasses import dataclass

import torch
from torch import nn

from t3d.bench.limits import Limits, Precision
from t3d.bench.networks import Shape, build_network, count_flops, has_literal, wait_for
from t3d.bench.rounds import Arm, Step, measure
from t3d.bench.tables import Row, Table, Target, best_share, times_faster
from t3d.inference.backends import BACKENDS
from t3d.inference.backends.base import Scorer
from t3d.inference.export import noise_clips
from t3d.inference.scorer import torch_scorer
from t3d.models.checkpoints import ModelCard
from t3d.models.sizes import times
from t3d.system import keep_freed_memory
from t3d.tensors import Logits, Views
from t3d.video.spec import ClipSpec, PixelSpec
from t3d.video.transforms import normalise

_SHORTEST_SECONDS = 0.3
_CALIBRATION_CLIPS = 8
_NUM_CLASSES = 400


@dataclass(frozen=True, kw_only=True)
class Way:
    """How clips are scored."""

    name: str
    literal: bool = False
    """The network as the paper's table reads, instead of ours, folded: norms and smoothing are inside the kernels."""
    engine: str = "torch"
    precision: Precision | None = "float32"
    """None is int8."""


_OURS = Way(name="PyTorch (folded)")
_WAYS = (Way(name="literal", literal=True), _OURS, Way(name="PyTorch (folded), bf16", precision="bf16"))
_ENGINE_WAYS = (
    Way(name="onnxruntime", engine="onnxruntime"),
    Way(name="openvino", engine="openvino"),
    Way(name="openvino, bf16", engine="openvino", precision="bf16"),
    Way(name="openvino, int8", engine="openvino", precision=None),
)
_NOTE = (
    f"int8 is fitted to {_CALIBRATION_CLIPS} clips of noise: its time is that of any weights, its scores mean nothing."
)

_AIMED_AT: Shape = (1, 3, 16, 112, 112)
_TIMES_FASTER: dict[str, dict[Precision | None, float]] = {
    "t3d_121": {"float32": 3.0, "bf16": 6.0, None: 12.0},
    "densenet3d_121": {"float32": 2.5},
}
_SHARE = 0.85


def bench_infer(arch: str, shape: Shape, *, rounds: int, threads: int, device: str) -> Callable[[Limits], list[Table]]:
    """Time the scoring of clips that are bytes on the CPU, normalisation included; give what makes the table of it.

    Args:
        arch: Name of the network.
        shape: Clips of a step.
        rounds: Timed steps of each way.
        threads: CPU threads.
        device: Where PyTorch computes; the other engines are measured on the CPU only.
    """
    ways = [way for way in _ways(device) if has_literal(arch) or not way.literal]
    arms = [
        Arm(name=way.name, build=scoring_step, arguments={"arch": arch, "shape": shape, "way": way, "device": device})
        for way in ways
    ]
    measured = measure(arms, rounds=rounds, threads=threads, shortest_seconds=_SHORTEST_SECONDS)
    flops = {literal: _count(arch, shape, literal) for literal in {way.literal for way in ways}}
    title = f"Scoring by {arch}, clips of {times(shape)} (B x C x T x H x W)"
    notes = [_NOTE] if device == "cpu" else []

    def tables(limits: Limits) -> list[Table]:
        rows = [
            Row(measured=one, flops=flops[way.literal], limit=limits.rate(way.precision) if way.precision else None)
            for one, way in zip(measured, ways, strict=True)
        ]
        targets = _targets(arch, rows, ways) if shape == _AIMED_AT else []
        return [Table(title=title, rows=rows, targets=targets, notes=notes, memory=False)]

    return tables


def scoring_step(*, arch: str, shape: Shape, way: Way = _OURS, device: str) -> Step:
    """Build a network for an engine and return a step: score clips of noise."""
    scorer = _torch(arch, way, device) if way.engine == "torch" else _other(arch, shape, way)
    clips = noise_clips(shape[1:], shape[0])
    return lambda: scorer(clips)


def _ways(device: str) -> tuple[Way, ...]:
    return _WAYS + (_ENGINE_WAYS if device == "cpu" else ())


def _torch(arch: str, way: Way, device: str) -> Scorer:
    if not way.literal:
        keep_freed_memory()  # as `t3d evaluate` does
    network = build_network(arch, literal=way.literal, fold=not way.literal, device=device).eval()
    score = _plainly(network, device) if way.literal else torch_scorer(network, PixelSpec())
    kind = torch.device(device).type

    def scored(clips: Views) -> Logits:
        with torch.autocast(kind, torch.bfloat16) if way.precision == "bf16" else nullcontext():
            logits = score(clips)
        wait_for(device)
        return logits

    return scored


def _plainly(network: nn.Module, device: str) -> Scorer:
    """With nothing of the package but its normalisation."""

    @torch.inference_mode()
    def score(clips: Views) -> Logits:
        logits: Logits = network(normalise(clips.to(device), PixelSpec()))
        return logits

    return score


def _other(arch: str, shape: Shape, way: Way) -> Scorer:
    engine, edge = BACKENDS[way.engine], shape[-1]
    card = ModelCard(
        arch=arch,
        overrides={},
        labels=tuple(map(str, range(_NUM_CLASSES))),
        clip=ClipSpec(num_frames=shape[2]),
        pixels=PixelSpec(resize=edge, crop_size=edge),
    )
    noise = None if way.precision else noise_clips(shape[1:], _CALIBRATION_CLIPS)
    return engine.start(engine.translate(build_network(arch), card, noise), way.precision or "int8")


def _count(arch: str, shape: Shape, literal: bool) -> int:
    """Operations of a step; those of every engine are the folded network's, whatever the precision."""
    return count_flops(_pass, arch=arch, shape=shape, literal=literal)


def _pass(*, arch: str, shape: Shape, literal: bool, device: str) -> Step:
    """A forward pass of the network by itself."""
    network = build_network(arch, literal=literal, fold=not literal, device=device).eval()
    clips = torch.empty(shape, device=device)

    @torch.no_grad()
    def step() -> None:
        network(clips)

    return step


def _targets(arch: str, rows: Sequence[Row], ways: Sequence[Way]) -> list[Target]:
    """What was aimed at, of the settings it was aimed at with."""
    found = []
    for precision, bound in _TIMES_FASTER.get(arch, {}).items():
        names = [way.name for way in ways if way.precision == precision and not way.literal]
        what = f"best {precision or 'int8'} engine"
        reached = times_faster(rows, names)
        found.append(Target(what=f"{what} against literal", unit="x faster", bound=bound, reached=reached))
        if precision and arch == "t3d_121":
            found.append(Target(what=what, unit="of the limit", bound=_SHARE, reached=best_share(rows, names)))
    return found
