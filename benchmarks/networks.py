"""Time and peak memory of one training step and one forward pass, each in a fresh process.

    python benchmarks/networks.py --arch t3d_121 t3d_169 --repeats 5 --threads 2

Prints a Markdown table, then the same as JSON. Random weights and clips; no data is read. Memory is the peak resident
size of the child process above what it held after importing the package, so it holds weights, activations and, for the
training step, gradients and momentum. The training step starts with one unmeasured step; so does the forward pass.
"""

import argparse
import json
import multiprocessing
import resource
import statistics
import sys
import time
from collections.abc import Callable
from typing import Any

import torch
from torch.nn import functional as F

from t3d.models import ARCHITECTURES, create_model

TASKS = {"training step": (2, 3, 16, 112, 112), "forward": (1, 3, 32, 224, 224)}


def main() -> None:
    """Measure every asked network at every task."""
    options = _parser().parse_args()
    rows = [_in_fresh_process(arch, task, options.repeats, options.threads) for arch in options.arch for task in TASKS]
    print("| network | task | clips (B x C x T x H x W) | median seconds | peak memory, MB |")
    print("|---|---|---|---|---|")
    for row in rows:
        shape = " x ".join(map(str, row["shape"]))
        print(
            f"| {row['arch']} | {row['task']} | {shape} | {row['median_seconds']:.2f} | {row['peak_bytes'] / 1e6:.0f} |"
        )
    print(json.dumps({"torch": torch.__version__, "threads": options.threads, "rows": rows}, indent=2))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--arch", nargs="+", choices=list(ARCHITECTURES), default=["t3d_121", "t3d_169"])
    parser.add_argument("--repeats", type=int, default=5, help="measured repetitions; the median is reported")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads(), help="CPU threads of torch")
    return parser


def _in_fresh_process(arch: str, task: str, repeats: int, threads: int) -> dict[str, Any]:
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        return pool.apply(_measure, (arch, task, repeats, threads))


def _measure(arch: str, task: str, repeats: int, threads: int) -> dict[str, Any]:
    torch.set_num_threads(threads)
    before = _peak_bytes()
    generator = torch.Generator().manual_seed(0)
    clips = torch.randn(TASKS[task], generator=generator)
    step = (_training_step if task == "training step" else _forward)(arch, clips, generator)
    step()  # allocates the buffers; not measured
    seconds = [_timed(step) for _ in range(repeats)]
    return {
        "arch": arch,
        "task": task,
        "shape": TASKS[task],
        "seconds": seconds,
        "median_seconds": statistics.median(seconds),
        "peak_bytes": _peak_bytes() - before,
    }


def _training_step(arch: str, clips: torch.Tensor, generator: torch.Generator) -> Callable[[], None]:
    model = create_model(arch, generator=generator).train()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01, momentum=0.9, nesterov=True, weight_decay=1e-4)
    labels = torch.zeros(len(clips), dtype=torch.int64)

    def step() -> None:
        optimizer.zero_grad()
        F.cross_entropy(model(clips), labels).backward()
        optimizer.step()

    return step


def _forward(arch: str, clips: torch.Tensor, generator: torch.Generator) -> Callable[[], None]:
    model = create_model(arch, generator=generator).eval()

    def step() -> None:
        with torch.inference_mode():
            model(clips)

    return step


def _timed(step: Callable[[], None]) -> float:
    start = time.perf_counter()
    step()
    return time.perf_counter() - start


def _peak_bytes() -> int:
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024


if __name__ == "__main__":
    main()
