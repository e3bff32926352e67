"""A step of training: the literal network against ours with every setting; memory; agreement of gradients."""

from collections.abc import Sequence
from dataclasses import replace

from torch import nn

from benchmarks.agreement import Agreement, agreement
from benchmarks.literal import LITERAL_NETWORKS, literal_network
from benchmarks.options import NETWORKS, Options
from benchmarks.tables import times_faster, times_the_memory, times_the_time
from t3d.bench.experiments import (
    ACCELERATED,
    COMPILED,
    RECOMPUTED,
    TRAINING,
    Experiment,
    Findings,
    Work,
    run_experiments,
    training_experiment,
)
from t3d.bench.rounds import Variant
from t3d.bench.steps import Shape, TrainSettings, count_flops, training_step
from t3d.bench.tables import Row, Target

LITERAL = TrainSettings(name="literal", freed_memory="as usual")
LEAST_MEMORY = replace(
    RECOMPUTED, name="accelerated, recompute, bf16, channels last", precision="bf16", channels_last=True
)

_AIMED_AT: Shape = (4, 3, 16, 112, 112)
_LONGER: Shape = (4, 3, 32, 112, 112)
_COMPARED: Shape = (4, 3, 16, 64, 64)
_TIMES_FASTER = {"t3d_121": (2.0, 4.0), "densenet3d_121": (1.3,)}
"""What was aimed at: in float32, and by the best setting of all."""


def run(options: Options) -> Findings:
    """Time steps, and steps of clips twice as long for their memory; compare gradients."""
    shapes = {arch: options.shape(arch, batch_size=4) for arch in options.arch or NETWORKS}
    experiments = [experiment for arch, shape in shapes.items() for experiment in _experiments(arch, shape, options)]
    rows, limits = run_experiments(experiments, threads=options.cpu_threads, limits_of=options.device)
    tables = [experiment.table(own) for experiment, own in zip(experiments, rows, strict=True)]
    for position, (arch, shape) in enumerate(shapes.items()):
        same = agreement(arch, shape, exact_shape=_COMPARED) if arch in LITERAL_NETWORKS else Agreement()
        steps = tables[2 * position]
        tables[2 * position] = replace(steps, targets=[*steps.targets, *same.targets], notes=same.notes)
    return Findings(tables=[table.figures() for table in tables], limits=limits)


def literal_work(arch: str, shape: Shape, settings: TrainSettings = LITERAL, *, device: str) -> Work:
    """A step of the literal network."""
    given = {"arch": arch, "shape": shape, "settings": settings, "build": literal_training_network}
    return Work(
        variant=Variant(name=settings.name, build=training_step, arguments={**given, "device": device}),
        flops=count_flops(training_step, **given),
        precision=settings.precision,
    )


def literal_training_network(arch: str, settings: TrainSettings) -> nn.Module:
    """Build the literal network, whatever the settings."""
    return literal_network(arch).train()


def _experiments(arch: str, shape: Shape, options: Options) -> list[Experiment]:
    batch, channels, frames, height, width = shape
    longer: Shape = (batch, channels, 2 * frames, height, width)
    settings = (*TRAINING, *(COMPILED if options.compile else ()))
    steps = _against_literal(arch, shape, settings, rounds=options.timed_rounds, device=options.device)
    rounds = min(options.timed_rounds, 3)
    frugal = (ACCELERATED, RECOMPUTED, LEAST_MEMORY)
    memory = _against_literal(arch, longer, frugal, rounds=rounds, device=options.device)
    return [
        replace(steps, targets=lambda rows: _targets(arch, shape, rows)),
        replace(memory, targets=lambda rows: _memory_targets(arch, longer, rows)),
    ]


def _against_literal(
    arch: str, shape: Shape, settings: Sequence[TrainSettings], *, rounds: int, device: str
) -> Experiment:
    """Put the literal network first, where there is one; otherwise our first setting is the base."""
    experiment = training_experiment(arch, shape, settings, rounds=rounds, device=device)
    if arch not in LITERAL_NETWORKS:
        return experiment
    return replace(experiment, work=[literal_work(arch, shape, device=device), *experiment.work])


def _targets(arch: str, shape: Shape, rows: Sequence[Row]) -> list[Target]:
    """What was aimed at, of the settings it was aimed at with."""
    if shape != _AIMED_AT or arch not in _TIMES_FASTER:
        return []
    candidates = {ACCELERATED.name: [ACCELERATED.name], "the best setting": [row.measured.name for row in rows]}
    return [
        Target(what=f"{what} against literal", unit="x faster", bound=bound, reached=times_faster(rows, names))
        for (what, names), bound in zip(candidates.items(), _TIMES_FASTER[arch], strict=False)
    ]


def _memory_targets(arch: str, shape: Shape, rows: Sequence[Row]) -> list[Target]:
    if shape != _LONGER or arch != "t3d_121":
        return []
    name, what = RECOMPUTED.name, "recomputed, against literal"
    return [
        Target(what=what, unit="x the memory", bound=0.5, reached=times_the_memory(rows, name)),
        Target(what=what, unit="x the time", bound=1.35, reached=times_the_time(rows, name)),
    ]
