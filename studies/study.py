"""Run the studies behind the figures in `docs/results`: a list of trainings and evaluations, resumable, bill first.

    python studies/study.py weizmann4 --data PATH      # the folder of the real videos, see docs/results
    python studies/study.py all --data PATH

Each run is a `t3d train` and a `t3d evaluate`, as anybody would type them, in a folder of its own below `--output`.
What is there already is not run again; what was interrupted goes on. The figures of each run are written to
`docs/results/<study>.json`, and their table is printed.
"""

import argparse
import csv
import json
import re
import subprocess
import sys
import time
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

RESULTS = Path(__file__).resolve().parent.parent / "docs" / "results"
HELP = __doc__ or ""


@dataclass(frozen=True, kw_only=True)
class Job:
    """One training and its evaluation."""

    name: str
    train: tuple[str, ...]
    minutes: float
    """Expected time on two cores, for the bill."""


def weizmann4(data: Path) -> list[Job]:
    """Three person-disjoint splits x three seeds, with no flag but those every user gives."""
    return [
        Job(
            name=f"split{split}-seed{seed}",
            train=(str(data / "weizmann4"), "--arch", "t3d_tiny", "--split", str(split), "--seed", str(seed)),
            minutes=4,
        )
        for seed in (0, 1, 2)
        for split in (1, 2, 3)
    ]


def ud810(data: Path) -> list[Job]:
    """Leave one of three people out."""
    table = _write_csv(data / "ud810_ps7", "ud810_ps7.csv", _ud810_rows(data / "ud810_ps7"))
    return [
        Job(
            name=f"fold{fold}-seed0",
            train=(str(table), "--split", str(fold), "--seed", "0", "--min-steps", "200"),
            minutes=6,
        )
        for fold in (1, 2, 3)
    ]


def arid6(data: Path) -> list[Job]:
    """The official lists; validation is what the data's authors offer to test on."""
    return [Job(name="official-seed0", train=(str(arid6_list(data)), "--seed", "0"), minutes=8)]


def arid6_list(data: Path) -> Path:
    """The official lists as one table."""
    return _write_csv(data / "arid6", "arid6.csv", _arid_rows(data / "arid6"))


def shapes(data: Path) -> list[Job]:
    """The built-in data as the demo trains on it, and with the frames of every clip permuted."""
    plain = ("temporal-shapes", "--flip-probability", "0")
    return [
        Job(name="forward-seed0", train=(*plain, "--seed", "0"), minutes=4),
        Job(name="shuffled-seed0", train=(*plain, "--seed", "0", "--order", "shuffled"), minutes=4),
    ]


STUDIES = {"weizmann4": weizmann4, "ud810_ps7": ud810, "arid6": arid6, "shapes": shapes}


def main() -> None:
    """Print the bill, run what is missing, write the results."""
    parser = argparse.ArgumentParser(description=HELP, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("study", choices=[*STUDIES, "all"])
    parser.add_argument("--data", type=Path, default=Path("data"), help="folder that holds weizmann4, ud810_ps7, arid6")
    parser.add_argument("--output", type=Path, default=Path("runs/studies"))
    options = parser.parse_args()
    names = list(STUDIES) if options.study == "all" else [options.study]
    plan = {name: STUDIES[name](options.data.resolve()) for name in names}
    left = [job for name, jobs in plan.items() for job in jobs if not _done(options.output / name / job.name)]
    print(f"{len(left)} runs to do, about {sum(job.minutes for job in left) / 60:.1f} hours", flush=True)
    for name, jobs in plan.items():
        rows = [_run(job, options.output / name / job.name) for job in jobs]
        _report(name, rows, [options.output / name / job.name for job in jobs])


def _done(folder: Path) -> bool:
    return (folder / "metrics.json").exists()


def _run(job: Job, folder: Path) -> dict[str, object]:
    if not _done(folder):
        started = time.monotonic()
        if not (folder / "training.json").exists():
            resume = ["--resume"] if (folder / "trainer" / "state.pt").exists() else []
            _t3d("train", *job.train, "--output", str(folder), *resume)
        _t3d("evaluate", str(folder))
        print(f"{job.name}: {time.monotonic() - started:.0f} s", flush=True)
    metrics = json.loads((folder / "metrics.json").read_text())
    training = json.loads((folder / "training.json").read_text())
    return {
        "run": job.name,
        "command": "t3d train " + " ".join(re.sub(r"^/.*/", "", part) for part in job.train),
        "train_seconds": training["seconds"],
        "checkpoint_sha256": training["checkpoint_sha256"],
        "video": metrics["video"],
        "clip": metrics["clip"],
        "by_tag": metrics.get("by_tag", {}),
    }


def _t3d(*arguments: str, folder: Path | None = None) -> None:
    subprocess.run([sys.executable, "-m", "t3d", *arguments], check=True, cwd=folder)


def _report(study: str, rows: list[dict[str, object]], folders: list[Path]) -> None:
    RESULTS.mkdir(parents=True, exist_ok=True)
    (RESULTS / f"{study}.json").write_text(json.dumps(rows, indent=2) + "\n")
    _t3d("compare", *(folder.name for folder in folders), folder=folders[0].parent)


def _write_csv(root: Path, name: str, rows: Iterable[dict[str, str]]) -> Path:
    """A list beside the run folders: the data's own folder may be read-only."""
    target = Path("runs/studies") / name
    target.parent.mkdir(parents=True, exist_ok=True)
    lines = list(rows)
    with target.open("w", newline="") as file:
        writer = csv.DictWriter(file, fieldnames=list(lines[0]))
        writer.writeheader()
        writer.writerows({**line, "path": str(root / line["path"])} for line in lines)
    return target


def _ud810_rows(root: Path) -> Iterable[dict[str, str]]:
    for path in sorted(root.glob("PS7A*P*T*.avi")):
        match = re.fullmatch(r"PS7A(\d+)P(\d+)T(\d+)", path.stem)
        assert match, path
        yield {"path": path.name, "label": f"action{match[1]}", "group": f"person{match[2]}"}


def _arid_rows(root: Path) -> Iterable[dict[str, str]]:
    names = dict(line.split() for line in (root / "mapping_table_23.txt").read_text().splitlines() if line.strip())
    for split, folder in (("train", "train"), ("test", "validate")):
        for line in (root / f"{folder}.txt").read_text().splitlines():
            if line.strip():
                _, label, path = line.split("\t")
                yield {"path": f"{folder}/{path}", "label": names[label], "split": split}


if __name__ == "__main__":
    main()
