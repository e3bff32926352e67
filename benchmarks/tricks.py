"""A training step of T3D with one trick at a time, and with the one that was left out: what each is worth by itself.

    python benchmarks/tricks.py --arch t3d_121 --batch-size 4 --num-frames 16 --crop-size 112 --rounds 5

The arms take turns (A B C A B C ...), each in a process of its own. Tricks are taken away from the package's network by
replacing the functions that use them, so that all arms share the rest. Prints a Markdown table: median seconds, the
ratio to the plainly written network round by round, and the peak of resident memory above that of the imports.
"""

import argparse
import statistics
from collections.abc import Callable
from dataclasses import replace

import torch
import torch.nn.functional as F
from torch import Tensor

from t3d.bench.networks import Shape
from t3d.bench.rounds import Arm, Step, measure, ratios
from t3d.bench.train import LITERAL, Way, training_step
from t3d.models import dense_block, halved_branches, transitions
from t3d.models.composite import NormReluConv
from t3d.models.sizes import Size, times
from t3d.models.static_halving import smoothed

_OURS = Way(name="ours")
_KEPT = Way(name="ours, memory kept", freed_memory="kept")


def main() -> None:
    """Measure every arm."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--arch", default="t3d_121")
    parser.add_argument("--batch-size", type=int, default=4)
    parser.add_argument("--num-frames", type=int, default=16)
    parser.add_argument("--crop-size", type=int, default=112)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    options = parser.parse_args()
    shape = (options.batch_size, 3, options.num_frames, options.crop_size, options.crop_size)
    arms = [
        Arm(name=name, build=build, arguments={"arch": options.arch, "shape": shape, "name": name}) for name in _TRICKS
    ]
    measured = measure(arms, rounds=options.rounds, threads=options.threads)
    print(f"{options.arch}, clips of {times(shape)}, {options.threads} threads, torch {torch.__version__}\n")
    print("| step | median s | x faster than literal (least to most) | peak MB |\n|---|---:|---:|---:|")
    for one in measured:
        if one.error:
            print(f"| {one.name} | {one.error} | | |")
            continue
        faster = [1 / ratio for ratio in ratios(one, measured[0])]
        spread = f"{statistics.median(faster):.2f} ({min(faster):.2f} to {max(faster):.2f})"
        print(f"| {one.name} | {one.median:.2f} | {spread} | {one.peak_bytes / 1e6:.0f} |")


def build(*, arch: str, shape: Shape, name: str) -> Step:
    """Take the tricks away that an arm has not, in its own process, and build its step."""
    way, take_away = _TRICKS[name]
    take_away()
    return training_step(arch=arch, shape=shape, way=way, device="cpu")


def _never(*_: object) -> bool:
    return False


def _nothing() -> None:
    pass


def _averages_only() -> None:
    _without_steps_by_hand(dense_block, halved_branches)


def _kernels_only() -> None:
    _averages_only()
    halved_branches._halve = _by_smoothed_kernels  # type: ignore[assignment]


def _dense_only() -> None:
    transitions.can_halve = _never  # type: ignore[assignment]


def _averages_and_dense() -> None:
    _without_steps_by_hand(halved_branches)


def _without_steps_by_hand(*rooms: object) -> None:
    for room in rooms:
        room.can_share = _never  # type: ignore[attr-defined]


def _by_smoothed_kernels(seen: Tensor, branch: NormReluConv, pool: Size) -> Tensor:
    """Average the kernels instead of the maps, as part of every step."""
    depth, height, width = branch.conv.kernel_size
    if (depth, height, width) == (1, 1, 1):
        return branch.conv(F.avg_pool3d(seen, pool))
    early, up, left = branch.conv.padding
    seen = F.pad(seen, (left, left, up, up, early, depth - 1 - early))
    return F.conv3d(seen, smoothed(branch.conv.weight, pool), stride=pool)


_TRICKS: dict[str, tuple[Way, Callable[[], None]]] = {
    "literal": (LITERAL, _nothing),
    "freed memory kept, alone": (replace(LITERAL, freed_memory="kept"), _nothing),
    "averages before convolutions, alone": (_OURS, _averages_only),
    "kernels averaged instead, alone": (_OURS, _kernels_only),
    "dense block by hand, alone": (_OURS, _dense_only),
    "averages, and dense block by hand": (_OURS, _averages_and_dense),
    "these, and transitions by hand": (_OURS, _nothing),
    "averages, and dense block by hand, freed memory kept": (_KEPT, _averages_and_dense),
    "ours: all of these": (_KEPT, _nothing),
}

if __name__ == "__main__":
    main()
