"""Run the commands behind the table of `docs/two-stream.md`, and write its figures to `docs/results/two-stream.json`.

    python studies/two_stream.py --data PATH      # the folder that holds weizmann4, see docs/results

Pictures, flow, and both fused with fitted and with equal weights, for two seeds. What is there already is not run
again.
"""

import argparse
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

RESULTS = Path(__file__).resolve().parent.parent / "docs" / "results"
SEEDS = (0, 1)
CLIPS = ("--num-frames", "8", "--keep-last-plane", "--resize", "48", "--crop-size", "48")
TRAINING = (*CLIPS, "--max-steps", "200", "--select-on", "validation", "--workers", "0")


def main() -> None:
    """Run every command, then write a row for each stream and fusion."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--output", type=Path, default=Path("runs/two-stream"))
    options = parser.parse_args()
    rows = []
    for seed in SEEDS:
        for arguments, result in commands(options.data / "weizmann4", options.output, seed):
            if not result.exists():
                subprocess.run([sys.executable, "-m", "t3d", *map(str, arguments)], check=True)
            if result.name == "metrics.json":
                rows.append(row(seed, ["t3d", *map(str, arguments)], json.loads(result.read_text())))
    (RESULTS / "two-stream.json").write_text(json.dumps(rows, indent=1) + "\n")


def commands(data: Path, output: Path, seed: int) -> Iterator[tuple[tuple[object, ...], Path]]:
    """The arguments of each command of a seed, and the file it leaves when it is done."""
    rgb, flow = (output / f"{stream}-seed{seed}" for stream in ("rgb", "flow"))
    for run, modality in ((rgb, ()), (flow, ("--modality", "flow"))):
        yield ("train", data, *modality, *TRAINING, "--seed", seed, "--output", run), run / "weights.safetensors"
        yield ("evaluate", run), run / "metrics.json"
        yield ("evaluate", run, "--subset", "validation"), run / "validation" / "metrics.json"
    for name, weights in (("fused", ()), ("equal", ("--weights", 1, 1))):
        folder = output / f"{name}-seed{seed}"
        yield ("fuse", rgb, flow, *weights, "--output", folder), folder / "metrics.json"


def row(seed: int, command: list[str], metrics: dict[str, Any]) -> dict[str, Any]:
    """What the record keeps of an evaluation."""
    kept = {key: metrics.get(key) for key in ("dataset", "protocol", "fusion", "versions")}
    return {"seed": seed, "command": " ".join(command), "video": metrics["video"], **kept}


if __name__ == "__main__":
    main()
