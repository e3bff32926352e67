"""Time and peak memory of one training step of a network, each in a fresh process; `t3d models --measure` has forward.

    python benchmarks/networks.py --arch t3d_121 t3d_169 --repeats 5 --threads 2

Prints a Markdown table, then the same as JSON. Random weights and clips; no data is read. Memory is the peak resident
size of the process above what it held after importing the package: weights, activations, gradients and momentum. One
step is made before those that are measured.
"""

import argparse
import json
from typing import Any

import torch
from torch.nn import functional as F

from t3d.engine.costs import in_fresh_process, median_seconds, peak_bytes
from t3d.models import ARCHITECTURES, create_model

SHAPE = (2, 3, 16, 112, 112)


def main() -> None:
    """Measure every asked network."""
    options = _parser().parse_args()
    rows = [in_fresh_process(_measure, arch, options.repeats, options.threads) for arch in options.arch]
    print(f"Clips of {' x '.join(map(str, SHAPE))} (B x C x T x H x W)\n")
    print("| network | median seconds of a training step | peak memory, MB |")
    print("|---|---:|---:|")
    for row in rows:
        print(f"| {row['arch']} | {row['median_seconds']:.2f} | {row['peak_bytes'] / 1e6:.0f} |")
    print(json.dumps({"torch": torch.__version__, "threads": options.threads, "shape": SHAPE, "rows": rows}, indent=2))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--arch", nargs="+", choices=list(ARCHITECTURES), default=["t3d_121", "t3d_169"])
    parser.add_argument("--repeats", type=int, default=5, help="measured repetitions; the median is reported")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads(), help="CPU threads of torch")
    return parser


def _measure(arch: str, repeats: int, threads: int) -> dict[str, Any]:
    torch.set_num_threads(threads)
    before = peak_bytes()
    generator = torch.Generator().manual_seed(0)
    model = create_model(arch, generator=generator).train()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01, momentum=0.9, nesterov=True, weight_decay=1e-4)
    clips = torch.randn(SHAPE, generator=generator)
    labels = torch.zeros(len(clips), dtype=torch.int64)

    def step() -> None:
        optimizer.zero_grad()
        F.cross_entropy(model(clips), labels).backward()
        optimizer.step()

    seconds = median_seconds(step, repeats=repeats)
    return {"arch": arch, "median_seconds": seconds, "peak_bytes": peak_bytes() - before}


if __name__ == "__main__":
    main()
