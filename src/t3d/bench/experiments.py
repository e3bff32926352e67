"""Experiments of variants measured in turn: settings of training, engines of scoring, and their tables."""

import logging
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, replace
from functools import partial
from typing import Any, Literal

from t3d.bench.machine import Limits, best_of, bf16_missing, describe_machine, measure_limits
from t3d.bench.rounds import LOGGER, Measured, Variant, measure
from t3d.bench.steps import (
    CALIBRATION_CLIPS,
    ScoreSettings,
    Shape,
    Source,
    TrainSettings,
    arch_supports_recompute,
    count_flops,
    prepared_step,
    scoring_step,
    training_step,
    unavailable,
)
from t3d.bench.tables import Row, Table, Target
from t3d.inference.backends import BACKENDS
from t3d.models.layers import times

PLAIN = TrainSettings(name="plain", accelerated=False, freed_memory="as usual")
ACCELERATED = TrainSettings(name="accelerated")
RECOMPUTED = TrainSettings(name="accelerated, recompute", recompute=True, freed_memory="returned")
BF16 = TrainSettings(name="accelerated, bf16", precision="bf16")
CHANNELS_LAST = replace(BF16, name="accelerated, bf16, channels last", channels_last=True)
TRAINING = (ACCELERATED, RECOMPUTED, BF16, CHANNELS_LAST)
COMPILED = tuple(replace(one, name=f"{one.name}, compiled", compile=True) for one in (ACCELERATED, CHANNELS_LAST))

_SHORTEST_SECONDS = 0.3
_NOTE = (
    f"int8 is fitted to {CALIBRATION_CLIPS} clips of noise: its time is that of any weights, its scores mean nothing."
)


@dataclass(frozen=True, kw_only=True)
class Work:
    """A variant and the operations of its step."""

    variant: Variant
    flops: int | None = None
    """Operations per step, two per multiply-add."""
    precision: str = ""
    """Precision whose best rate it is compared with; none for int8."""


@dataclass(frozen=True, kw_only=True)
class Experiment:
    """Variants of one piece of work, measured in turn."""

    title: str
    work: Sequence[Work]
    rounds: int
    ratio: Literal["x faster", "x the time"] = "x faster"
    shortest_seconds: float = 0.0
    """Repeat shorter steps until a turn takes this long."""
    memory: bool = True
    targets: Callable[[Sequence[Row]], Sequence[Target]] = lambda rows: ()
    notes: Sequence[str] = ()

    def table(self, rows: Sequence[Row]) -> Table:
        """Make the table of its rows."""
        return Table(
            title=self.title,
            rows=rows,
            ratio=self.ratio,
            targets=self.targets(rows),
            notes=self.notes,
            memory=self.memory,
        )


def run_experiments(
    experiments: Sequence[Experiment], *, threads: int, limits_of: str = ""
) -> tuple[list[list[Row]], Limits | None]:
    """Measure one experiment after the other.

    Args:
        experiments: At least one.
        threads: CPU threads of every variant.
        limits_of: Device whose best rates are measured before, between and after; the best count. "" measures none.

    Returns:
        The rows of each experiment, and the limits.
    """
    gauge = partial(measure_limits, threads=threads, device=limits_of)
    if limits_of:
        LOGGER.info("measuring the best rates of this machine")
    limits = [gauge()] if limits_of else []
    forecast, found = _Forecast(experiments), []
    for number, experiment in enumerate(experiments, start=1):
        LOGGER.info("table %d of %d: %s", number, len(experiments), experiment.title)
        found.append(
            measure(
                [one.variant for one in experiment.work],
                rounds=experiment.rounds,
                threads=threads,
                shortest_seconds=experiment.shortest_seconds,
                on_ready=forecast.on_ready,
            )
        )
        forecast.on_table(number)
        limits += [gauge()] if limits_of else []
    best = best_of(limits) if limits else None
    return [_rows(*pair, best) for pair in zip(experiments, found, strict=True)], best


def training_experiment(
    arch: str, shape: Shape, settings: Sequence[TrainSettings], *, rounds: int, device: str
) -> Experiment:
    """Steps of training a network with each of the settings.

    Args:
        arch: Name of the network.
        shape: Clips of a step, of random values.
        settings: Unsupported ones are left out; bf16 is skipped without hardware units.
        rounds: Timed steps of each.
        device: Device.
    """
    known = [one for one in settings if not one.recompute or arch_supports_recompute(arch)]
    given = {"arch": arch, "shape": shape, "device": device}
    flops = {
        one: count_flops(training_step, arch=arch, shape=shape, settings=one)
        for one in dict.fromkeys(map(_counted, known))
    }
    work = [
        Work(
            variant=Variant(
                name=one.name,
                build=training_step,
                arguments={**given, "settings": one},
                skip=bf16_missing(device) if one.precision == "bf16" else "",
            ),
            flops=flops[_counted(one)],
            precision=one.precision,
        )
        for one in known
    ]
    return Experiment(title=f"Training step of {arch}, {_clips(shape)}", work=work, rounds=rounds)


def scoring_experiment(source: Source, name: str, shape: Shape, *, rounds: int, device: str) -> Experiment:
    """Scoring by PyTorch and, on the CPU, by every other engine and precision, including normalisation.

    Args:
        source: A network's name or a run folder.
        name: Of the network, for the title.
        shape: Clips of a step.
        rounds: Timed steps of each.
        device: Device of PyTorch; other engines support the CPU only.
    """
    flops = count_flops(prepared_step, source=source, shape=shape)
    work = [
        Work(
            variant=Variant(
                name=one.name,
                build=scoring_step,
                arguments={"source": source, "shape": shape, "settings": one, "device": device},
                skip=unavailable(one, device),
            ),
            flops=flops,  # of every engine and precision alike
            precision=one.precision,
        )
        for one in _scorers(device)
    ]
    return Experiment(
        title=f"Scoring by {name}, {_clips(shape)}",
        work=work,
        rounds=rounds,
        shortest_seconds=_SHORTEST_SECONDS,
        memory=False,
        notes=[_NOTE] if device == "cpu" else [],
    )


@dataclass(frozen=True, kw_only=True)
class Findings:
    """Result of a benchmark."""

    tables: Sequence[Mapping[str, Any]]
    """JSON values."""
    limits: Limits | None = None
    figures: Mapping[str, Any] = field(default_factory=dict)
    """matplotlib's figures, by the end of their file's name."""


def record(kind: str, findings: Findings, *, command: str, threads: int, device: str) -> dict[str, Any]:
    """One JSON document: command, machine, best rates and tables."""
    return {
        "kind": kind,
        "command": command,
        "machine": describe_machine(threads=threads, device=device),
        "limits": None if findings.limits is None else asdict(findings.limits),
        "tables": list(findings.tables),
    }


@contextmanager
def progress_on_stderr() -> Iterator[None]:
    """Show the log of measurements on stderr."""
    handler, before = logging.StreamHandler(), LOGGER.level
    LOGGER.setLevel(logging.INFO)
    LOGGER.addHandler(handler)
    try:
        yield
    finally:
        LOGGER.removeHandler(handler)
        LOGGER.setLevel(before)


class _Forecast:
    """Logs an estimate of the total time after the first step, and of the time left after each table."""

    def __init__(self, experiments: Sequence[Experiment]) -> None:
        self.experiments = experiments
        self.expected: list[float] = []
        self.start = time.monotonic()

    def on_ready(self, build_seconds: float, step_seconds: float) -> None:
        """Estimate the total from the first variant that is ready."""
        if self.expected:
            return
        first = next((one.flops for one in self.experiments[0].work if one.flops and not one.variant.skip), None)
        for experiment in self.experiments:
            runs = [one for one in experiment.work if not one.variant.skip]
            steps = [step_seconds * ((one.flops or first) / first if first else 1.0) for one in runs]
            turns = sum(max(seconds, experiment.shortest_seconds) for seconds in steps)
            self.expected.append(len(runs) * build_seconds + experiment.rounds * turns)
        variants = sum(not one.variant.skip for experiment in self.experiments for one in experiment.work)
        LOGGER.info(
            "about %s in all (variants: %d, tables: %d)", _duration(sum(self.expected)), variants, len(self.experiments)
        )

    def on_table(self, number: int) -> None:
        """Log the time left after this number of tables."""
        done, left = sum(self.expected[:number]), sum(self.expected[number:])
        if left:
            elapsed = time.monotonic() - self.start
            LOGGER.info("%s done, about %s left", _duration(elapsed), _duration(elapsed * left / done))


def _duration(seconds: float) -> str:
    return f"{seconds:.0f} s" if seconds < 90 else f"{seconds / 60:.0f} min"


def _rows(experiment: Experiment, measured: Sequence[Measured], limits: Limits | None) -> list[Row]:
    return [
        Row(measured=found, flops=one.flops, limit=None if limits is None else limits.rate(one.precision))
        for one, found in zip(experiment.work, measured, strict=True)
    ]


def _counted(settings: TrainSettings) -> TrainSettings:
    """The operations are the same in every precision and layout, compiled or not."""
    return TrainSettings(
        name="counted", accelerated=settings.accelerated, recompute=settings.recompute, freed_memory="as usual"
    )


def _scorers(device: str) -> list[ScoreSettings]:
    own = [ScoreSettings(), ScoreSettings(name="PyTorch, bf16", precision="bf16")]
    if device != "cpu":
        return own
    return own + [
        ScoreSettings(
            name=engine.name + ("" if precision == "float32" else f", {precision}"),
            engine=engine.name,
            precision=precision,
        )
        for engine in BACKENDS.values()
        if engine.name != "torch"
        for precision in engine.precisions
    ]


def _clips(shape: Shape) -> str:
    return f"clips of {times(shape)} (B x C x T x H x W)"
