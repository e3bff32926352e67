"""Scoring clips: the literal network against ours by every engine and precision. Weights are random."""

from collections.abc import Sequence
from dataclasses import replace
from functools import partial

import torch

from benchmarks.literal import LITERAL_NETWORKS, literal_network
from benchmarks.options import NETWORKS, Options
from benchmarks.tables import best_share, times_faster
from t3d.bench.experiments import Experiment, Findings, Work, run_experiments, scoring_experiment
from t3d.bench.rounds import Step, Variant
from t3d.bench.steps import Shape, count_flops, synchronise
from t3d.bench.tables import Row, Target
from t3d.inference.export import noise_clips
from t3d.video.spec import PixelSpec
from t3d.video.transforms import normalise

_AIMED_AT: Shape = (1, 3, 16, 112, 112)
_TIMES_FASTER: dict[str, dict[str, float]] = {
    "t3d_121": {"float32": 3.0, "bf16": 6.0, "int8": 12.0},
    "densenet3d_121": {"float32": 2.5},
}
_SHARE = 0.85


def run(options: Options) -> Findings:
    """Time the scoring of clips that are bytes on the CPU, normalisation included."""
    shapes = [
        (arch, options.shape(arch, batch_size=batch_size))
        for arch in options.arch or NETWORKS
        for batch_size in ((1, 4) if options.batch_size is None else (options.batch_size,))
    ]
    experiments = [_experiment(arch, shape, options) for arch, shape in shapes]
    rows, limits = run_experiments(experiments, threads=options.cpu_threads, limits_of=options.device)
    tables = [experiment.table(own).figures() for experiment, own in zip(experiments, rows, strict=True)]
    return Findings(tables=tables, limits=limits)


def literal_scoring_step(*, arch: str, shape: Shape, device: str) -> Step:
    """Score with nothing of the package but its normalisation."""
    with torch.device(device):
        network = literal_network(arch).eval()
    clips = torch.empty(shape, dtype=torch.uint8) if device == "meta" else noise_clips(shape[1:], shape[0])

    @torch.inference_mode()
    def step() -> object:
        logits = network(normalise(clips.to(device), PixelSpec()))
        synchronise(device)
        return logits

    return step


def _experiment(arch: str, shape: Shape, options: Options) -> Experiment:
    ours = scoring_experiment(arch, arch, shape, rounds=options.timed_rounds, device=options.device)
    if arch not in LITERAL_NETWORKS:
        return ours
    given = {"arch": arch, "shape": shape, "device": options.device}
    literal = Work(
        variant=Variant(name="literal", build=literal_scoring_step, arguments=given),
        flops=count_flops(literal_scoring_step, arch=arch, shape=shape),
        precision="float32",
    )
    targets = partial(_targets, arch, ours.work) if shape == _AIMED_AT else lambda rows: ()
    return replace(ours, work=[literal, *ours.work], targets=targets)


def _targets(arch: str, work: Sequence[Work], rows: Sequence[Row]) -> list[Target]:
    """What was aimed at, of the settings it was aimed at with."""
    found = []
    for precision, bound in _TIMES_FASTER.get(arch, {}).items():
        names = [one.variant.name for one in work if one.precision == precision]
        what = f"best {precision} engine"
        reached = times_faster(rows, names)
        found.append(Target(what=f"{what} against literal", unit="x faster", bound=bound, reached=reached))
        if precision != "int8" and arch == "t3d_121":
            found.append(Target(what=what, unit="of the limit", bound=_SHARE, reached=best_share(rows, names)))
    return found
