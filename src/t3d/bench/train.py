"""A step of training: the network written plainly against ours, in every way it can be computed. No data is read."""

from collections.abc import Callable, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, replace
from functools import partial
from typing import Literal

import torch
import torch.nn.functional as F

from t3d.bench.agreement import Agreement, agreement
from t3d.bench.limits import Limits, Precision
from t3d.bench.networks import Shape, build_network, count_flops, has_literal, wait_for
from t3d.bench.rounds import Arm, Measured, Step, measure
from t3d.bench.tables import Row, Table, Target, times_faster, times_the_memory, times_the_time
from t3d.engine.convolutions import Rerouted, padded_in_time
from t3d.models import create_model, recompute
from t3d.models.dense_block import can_recompute
from t3d.models.sizes import times
from t3d.system import keep_freed_memory, return_freed_memory


@dataclass(frozen=True, kw_only=True)
class Way:
    """How a step is computed."""

    name: str
    literal: bool = False
    """The network as the paper's table reads, instead of ours."""
    precision: Precision = "float32"
    recompute: bool = False
    """Compute the dense blocks again on the way back, instead of keeping what they made."""
    channels_last: bool = False
    freed_memory: Literal["as usual", "kept", "returned"] = "as usual"
    """What becomes of it: `t3d train` keeps it, with `--recompute` it returns it."""
    compile: bool = False


LITERAL = Way(name="literal", literal=True)
_OURS = Way(name="ours", freed_memory="kept")
_RECOMPUTED = Way(name="ours, recompute", recompute=True, freed_memory="returned")
_BF16 = replace(_OURS, name="ours, bf16", precision="bf16")
_LAST = replace(_BF16, name="ours, bf16, channels last", channels_last=True)
_COMPILED = tuple(replace(way, name=f"{way.name}, compiled", compile=True) for way in (_OURS, _LAST))
_WAYS = (LITERAL, _OURS, _RECOMPUTED, _BF16, _LAST)
_LEAST = replace(_RECOMPUTED, name="ours, recompute, bf16, channels last", precision="bf16", channels_last=True)
_FRUGAL = (LITERAL, _OURS, _RECOMPUTED, _LEAST)

_AIMED_AT: Shape = (4, 3, 16, 112, 112)
_LONGER: Shape = (4, 3, 32, 112, 112)
_COMPARED: Shape = (4, 3, 16, 64, 64)
_TIMES_FASTER = {"t3d_121": (2.0, 4.0), "densenet3d_121": (1.3,)}
"""What was aimed at: in float32, and the best way of all."""


def bench_train(
    arch: str, shape: Shape, *, rounds: int, threads: int, device: str, compiled: bool
) -> Callable[[Limits], list[Table]]:
    """Time a step, and one of clips twice as long for its memory; give what makes the tables of it.

    Args:
        arch: Name of the network.
        shape: Clips of a step.
        rounds: Timed steps of each way.
        threads: CPU threads.
        device: Where.
        compiled: Also measure compiled steps, which take minutes to build.
    """
    timed = partial(_measured, arch, threads=threads, device=device)
    measured = timed(shape, [*_WAYS, *(_COMPILED if compiled else ())], rounds=rounds)
    batch, channels, frames, *edges = shape
    longer: Shape = (batch, channels, 2 * frames, edges[0], edges[1])
    frugal = timed(longer, _FRUGAL, rounds=min(rounds, 3))
    same = agreement(arch, shape, exact_shape=_COMPARED) if has_literal(arch) else Agreement(targets=[], note="")

    def tables(limits: Limits) -> list[Table]:
        steps, memory = _rows(arch, shape, measured, limits), _rows(arch, longer, frugal, limits)
        targets, notes = [*_targets(arch, shape, steps), *same.targets], [same.note] if same.note else []
        return [
            Table(title=_title(arch, shape), rows=steps, targets=targets, notes=notes),
            Table(title=_title(arch, longer), rows=memory, targets=_memory_targets(arch, longer, memory)),
        ]

    return tables


def training_step(*, arch: str, shape: Shape, way: Way = _OURS, device: str) -> Step:
    """Build a network and return a step: zero the gradients, forward, cross entropy, backward, SGD."""
    if way.freed_memory == "kept":
        keep_freed_memory()
    elif way.freed_memory == "returned":
        return_freed_memory()
    network = build_network(arch, literal=way.literal, device=device).train()
    if way.recompute:
        recompute(network)
    clips = torch.rand(shape, device=device)
    if way.channels_last:
        network.to(memory_format=torch.channels_last_3d)  # type: ignore[call-overload]  # not in its stubs
        clips = clips.contiguous(memory_format=torch.channels_last_3d)
    labels = torch.zeros(len(clips), dtype=torch.int64, device=device)
    optimizer = torch.optim.SGD(network.parameters(), lr=1e-3, momentum=0.9, nesterov=True, weight_decay=1e-4)
    score = torch.compile(network) if way.compile else network
    kind, mixed = torch.device(device).type, way.precision == "bf16"

    def step() -> None:
        optimizer.zero_grad()
        with Rerouted(padded_in_time) if mixed and kind == "cpu" else nullcontext():  # as `t3d train` does it
            with torch.autocast(kind, torch.bfloat16) if mixed else nullcontext():
                loss = F.cross_entropy(score(clips), labels)
            loss.backward()
        optimizer.step()
        wait_for(device)

    return step


def _measured(
    arch: str, shape: Shape, ways: Sequence[Way], *, rounds: int, threads: int, device: str
) -> list[tuple[Way, Measured]]:
    """Measure the ways there are, in turn; without a literal one, ours is what the others are set against."""
    with torch.device("meta"):
        frugal = can_recompute(create_model(arch))
    known = [way for way in ways if (has_literal(arch) or not way.literal) and (frugal or not way.recompute)]
    arms = [
        Arm(name=way.name, build=training_step, arguments={"arch": arch, "shape": shape, "way": way, "device": device})
        for way in known
    ]
    return list(zip(known, measure(arms, rounds=rounds, threads=threads), strict=True))


def _rows(arch: str, shape: Shape, measured: Sequence[tuple[Way, Measured]], limits: Limits) -> list[Row]:
    return [
        Row(measured=one, flops=_count(arch, shape, way), limit=limits.rate(way.precision)) for way, one in measured
    ]


def _count(arch: str, shape: Shape, way: Way) -> int:
    """Operations of a step, whatever the precision, the layout and the compiler."""
    plain = Way(name=way.name, literal=way.literal, recompute=way.recompute)
    return count_flops(training_step, arch=arch, shape=shape, way=plain)


def _title(arch: str, shape: Shape) -> str:
    return f"Training step of {arch}, clips of {times(shape)} (B x C x T x H x W)"


def _targets(arch: str, shape: Shape, rows: Sequence[Row]) -> list[Target]:
    """What was aimed at, of the settings it was aimed at with."""
    if shape != _AIMED_AT or arch not in _TIMES_FASTER:
        return []
    candidates = {"ours": [_OURS.name], "the best way": [row.measured.name for row in rows]}
    return [
        Target(what=f"{what} against literal", unit="x faster", bound=bound, reached=times_faster(rows, names))
        for (what, names), bound in zip(candidates.items(), _TIMES_FASTER[arch], strict=False)
    ]


def _memory_targets(arch: str, shape: Shape, rows: Sequence[Row]) -> list[Target]:
    if shape != _LONGER or arch != "t3d_121":
        return []
    name, what = _RECOMPUTED.name, "recomputed, against literal"
    return [
        Target(what=what, unit="x the memory", bound=0.5, reached=times_the_memory(rows, name)),
        Target(what=what, unit="x the time", bound=1.35, reached=times_the_time(rows, name)),
    ]
