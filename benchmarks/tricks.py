"""A training step of T3D with one trick at a time, and with the one that was left out: what each is worth by itself.

Tricks are taken away from the accelerated network by replacing the functions that use them, so that all variants share
the rest.
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
from t3d.models.fast import dense_block, transition
from t3d.models.fast.pool_then_conv import smoothed
from t3d.models.layers import Size, times

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
    _without_fused_steps(dense_block, transition)


def _kernels_only() -> None:
    _averages_only()
    transition.pool_then_convolve = _smoothed_kernels  # type: ignore[assignment]


def _dense_only() -> None:
    transition.can_pool_first = _never  # type: ignore[assignment]


def _averages_and_dense() -> None:
    _without_fused_steps(transition)


def _without_fused_steps(*modules: object) -> None:
    for module in modules:
        module.can_share_statistics = _never  # type: ignore[attr-defined]


def _smoothed_kernels(rectified: Tensor, kernel: Tensor, pool: Size, convolve: Callable[..., Tensor]) -> Tensor:
    """Average the kernels instead of the maps, as part of every step."""
    depth, height, width = kernel.shape[2:]
    if (depth, height, width) == (1, 1, 1):
        return F.conv3d(F.avg_pool3d(rectified, pool), kernel)
    early, up, left = (depth - 1) // 2, height // 2, width // 2
    rectified = F.pad(rectified, (left, left, up, up, early, depth - 1 - early))
    return F.conv3d(rectified, smoothed(kernel, pool), stride=pool)


_VARIANTS: dict[str, tuple[TrainSettings, Callable[[], None]]] = {
    "averages before convolutions, alone": (_NOT_KEPT, _averages_only),
    "kernels averaged instead, alone": (_NOT_KEPT, _kernels_only),
    "fused dense block, alone": (_NOT_KEPT, _dense_only),
    "averages, and fused dense block": (_NOT_KEPT, _averages_and_dense),
    "these, and fused transitions": (_NOT_KEPT, _all_tricks),
    "averages, and fused dense block, freed memory kept": (_KEPT, _averages_and_dense),
    "accelerated: all of these": (_KEPT, _all_tricks),
}
