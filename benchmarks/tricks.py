"""A training step of T3D with one trick at a time, and with the one that was left out: what each is worth by itself.

Tricks are taken away from our network by replacing the functions that use them, so that all variants share the rest.
"""

from collections.abc import Callable
from dataclasses import replace

import torch.nn.functional as F
from torch import Tensor

from benchmarks.options import Options
from benchmarks.train import LITERAL, literal_work
from t3d.bench.experiments import ACCELERATED, Experiment, Findings, Work, run_experiments
from t3d.bench.rounds import Step, Variant
from t3d.bench.steps import Shape, TrainSettings, training_step
from t3d.models import dense_block, halved_branches, transitions
from t3d.models.composite import NormReluConv
from t3d.models.sizes import Size, times
from t3d.models.static_halving import smoothed

_KEPT = ACCELERATED
_NOT_KEPT = replace(ACCELERATED, freed_memory="as usual")


def run(options: Options) -> Findings:
    """Measure every variant."""
    experiments = [
        _experiment(arch, options.shape(arch, batch_size=4), rounds=options.timed_rounds)
        for arch in options.arch or ("t3d_121",)
    ]
    rows, limits = run_experiments(experiments, threads=options.cpu_threads)
    tables = [experiment.table(own) for experiment, own in zip(experiments, rows, strict=True)]
    return Findings(tables=[table.figures() for table in tables], limits=limits)


def build(*, arch: str, shape: Shape, name: str) -> Step:
    """Take away the tricks that a variant has not, in its own process, and build its step."""
    settings, take_away = _VARIANTS[name]
    take_away()
    return training_step(arch=arch, shape=shape, settings=settings, device="cpu")


def _experiment(arch: str, shape: Shape, *, rounds: int) -> Experiment:
    literal = literal_work(arch, shape, device="cpu")
    kept = replace(LITERAL, name="freed memory kept, alone", freed_memory="kept")
    ours = [
        Work(variant=Variant(name=name, build=build, arguments={"arch": arch, "shape": shape, "name": name}))
        for name in _VARIANTS
    ]
    return Experiment(
        title=f"Training step of {arch}, clips of {times(shape)} (B x C x T x H x W), trick by trick",
        work=[literal, literal_work(arch, shape, kept, device="cpu"), *ours],
        rounds=rounds,
    )


def _never(*_: object) -> bool:
    return False


def _all_tricks() -> None:
    pass


def _averages_only() -> None:
    _without_fused_steps(dense_block, halved_branches)


def _kernels_only() -> None:
    _averages_only()
    halved_branches._halve = _by_smoothed_kernels


def _dense_only() -> None:
    transitions.can_halve = _never  # type: ignore[assignment]


def _averages_and_dense() -> None:
    _without_fused_steps(halved_branches)


def _without_fused_steps(*modules: object) -> None:
    for module in modules:
        module.can_share = _never  # type: ignore[attr-defined]


def _by_smoothed_kernels(seen: Tensor, branch: NormReluConv, pool: Size) -> Tensor:
    """Average the kernels instead of the maps, as part of every step."""
    depth, height, width = branch.conv.kernel_size
    if (depth, height, width) == (1, 1, 1):
        return branch.conv(F.avg_pool3d(seen, pool))
    early, up, left = (depth - 1) // 2, height // 2, width // 2
    seen = F.pad(seen, (left, left, up, up, early, depth - 1 - early))
    return F.conv3d(seen, smoothed(branch.conv.weight, pool), stride=pool)


_VARIANTS: dict[str, tuple[TrainSettings, Callable[[], None]]] = {
    "averages before convolutions, alone": (_NOT_KEPT, _averages_only),
    "kernels averaged instead, alone": (_NOT_KEPT, _kernels_only),
    "fused dense block, alone": (_NOT_KEPT, _dense_only),
    "averages, and fused dense block": (_NOT_KEPT, _averages_and_dense),
    "these, and fused transitions": (_NOT_KEPT, _all_tricks),
    "averages, and fused dense block, freed memory kept": (_KEPT, _averages_and_dense),
    "accelerated: all of these": (_KEPT, _all_tricks),
}
