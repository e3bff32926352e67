"""Interrupt trainings, transfers, evaluations and preparations at random moments, and count what comes of it.

Not a test of the suite, for it takes an hour: `python tests/stress_interrupts.py --trials 200`. Every trial is a fork
of this process, which has imported everything once. A signal goes to the main process only, to its whole group, or to
all its processes in random order. A trial fails unless the command ends with code 130 and one line (or was done
already), leaves no process behind, and goes on to the same result.
"""

import argparse
import faulthandler
import os
import random
import shutil
import signal
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

os.environ["OMP_NUM_THREADS"] = "1"  # a process with threads must not fork

import torch
from safetensors.torch import load_file

from program import MICRO, TRANSFER, write_dataset
from t3d import cli
from t3d.commands import evaluate, prepare, train, transfer  # noqa: F401  (imported once for all trials)
from t3d.system import ENDING

HANG_SECONDS = 240
LEFT_SECONDS = 15
LEARNING = ("--min-steps", "0", "--checkpoint-steps", "1", "--workers", "2")
VERBS = {
    "train": ("train", "{data}", "--output", "{out}", *MICRO, "--epochs", "3", *LEARNING, "--select-on", "validation"),
    "transfer": ("transfer", "{data}", "--output", "{out}", *TRANSFER, "--epochs", "1", *LEARNING),
    "evaluate": ("evaluate", "{run}", "--output", "{out}", "--clips", "4", "--workers", "2", "--accelerator", "cpu"),
    "prepare": ("data", "prepare", "{data}", "{out}", "--short-side", "32", "--workers", "2"),
}
RESUMED = ("train", "transfer")


@dataclass(frozen=True)
class Started:
    """A command in a process of its own, the leader of its session."""

    pid: int
    err: Path

    def wait(self) -> int | None:
        """Exit code, minus the signal where one killed it; None where it hangs."""
        deadline = time.monotonic() + HANG_SECONDS
        while time.monotonic() < deadline:
            pid, status = os.waitpid(self.pid, os.WNOHANG)
            if pid:
                return os.waitstatus_to_exitcode(status)
            time.sleep(0.01)
        os.kill(self.pid, signal.SIGUSR1)  # writes where it hangs
        time.sleep(1)
        for process in processes_of(self.pid):
            os.kill(process, signal.SIGKILL)
        os.waitpid(self.pid, 0)
        return None


def start(arguments: Sequence[str], err: Path, cache: Path) -> Started:
    """Fork, and run the command there."""
    pid = os.fork()
    if pid:
        return Started(pid, err)
    code = 1
    try:
        os.setsid()
        del sys.modules["__main__"].__file__  # what spawned processes would import anew
        for number in ENDING:
            signal.signal(number, signal.default_int_handler if number == signal.SIGINT else signal.SIG_DFL)
        with err.open("w") as file:
            os.dup2(file.fileno(), 2)
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        faulthandler.register(signal.SIGUSR1)
        os.environ["T3D_CACHE"] = str(cache)
        cli.main(arguments)
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else 1
    except BaseException:
        sys.excepthook(*sys.exc_info())
    finally:
        sys.stderr.flush()
        os._exit(code)


def processes_of(session: int) -> list[int]:
    """Ids of the processes of a session that have not ended."""
    found = []
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            state, _, _, its_session = path.read_text().rpartition(")")[2].split()[:4]
        except (FileNotFoundError, ProcessLookupError):
            continue
        if int(its_session) == session and state != "Z":
            found.append(int(path.parent.name))
    return found


def left_of(session: int) -> list[int]:
    """Processes that do not end by themselves within seconds, as multiprocessing's tracker of resources does."""
    deadline = time.monotonic() + LEFT_SECONDS
    while (left := processes_of(session)) and time.monotonic() < deadline:
        time.sleep(0.05)
    return left


def wait_until_it_listens(started: Started) -> None:
    """Return once the process handles SIGTERM; before, it has done nothing yet."""
    status = Path(f"/proc/{started.pid}/status")
    while True:
        caught = next((line.split()[1] for line in status.read_text().splitlines() if line[:6] == "SigCgt"), "0")
        if int(caught, 16) >> (signal.SIGTERM - 1) & 1 or "Z" in status.read_text().splitlines()[2]:
            return
        time.sleep(0.001)


def send(started: Started, number: int, to: str, draw: random.Random) -> None:
    """Signal the main process, the group, or all processes in random order."""
    if to == "group":
        os.killpg(started.pid, number)
        return
    targets = [started.pid] if to == "main" else processes_of(started.pid)
    draw.shuffle(targets)
    for process in targets:
        try:
            os.kill(process, number)
        except ProcessLookupError:
            continue


class Stress:
    """The trials, in a folder of their own."""

    def __init__(self, folder: Path, draw: random.Random) -> None:
        self.folder = folder
        self.draw = draw
        self.data = folder / "data" / "videos.csv"
        self.expected: dict[str, Path] = {}
        self.seconds: dict[str, float] = {}

    def prepare(self) -> None:
        """Make the videos, and what each command makes when it is left alone."""
        pid = os.fork()  # encoding starts threads
        if pid == 0:
            write_dataset(self.data.parent)
            os._exit(0)
        os.waitpid(pid, 0)
        for verb in VERBS:
            out = self.folder / f"expected-{verb}"
            begun = time.monotonic()
            started = self.start(verb, out)
            wait_until_it_listens(started)
            begun = time.monotonic()
            code = started.wait()
            assert code == 0, started.err.read_text()
            self.expected[verb], self.seconds[verb] = out, time.monotonic() - begun
            print(f"{verb}: {self.seconds[verb]:.1f} s uninterrupted", flush=True)

    def start(self, verb: str, out: Path, *more: str) -> Started:
        names = {"data": self.data, "out": out, "run": self.expected.get("train", "")}
        arguments = [word.format(**names) for word in VERBS[verb]]
        return start([*arguments, *more], out.with_name(f"{out.name}.err"), out.with_name(f"{out.name}.cache"))

    def trial(self, number: int, verb: str) -> str:
        """One interruption; gives what came of it, a failure where it begins with FAILED."""
        out = self.folder / f"trial-{number}"
        started = self.start(verb, out)
        wait_until_it_listens(started)
        delay = self.draw.uniform(0, 1.1 * self.seconds[verb])
        signal_number = self.draw.choice((signal.SIGINT, signal.SIGTERM))
        to = self.draw.choice(("main", "group", "all"))
        time.sleep(delay)
        send(started, signal_number, to, self.draw)
        code = started.wait()
        left = left_of(started.pid)
        result = self.judge(verb, out, code, started.err.read_text(), left)
        for process in left:
            os.kill(process, signal.SIGKILL)
        what = f"{verb} {signal.Signals(signal_number).name} to {to} after {delay:.2f} s"
        if result.startswith("FAILED"):
            print(f"{number}: {what}: {result}\n{started.err.read_text()}", flush=True)
        else:
            for path in self.folder.glob(f"{out.name}*"):
                shutil.rmtree(path) if path.is_dir() else path.unlink()
        return f"{verb}: {result}"

    def judge(self, verb: str, out: Path, code: int | None, err: str, left: Sequence[int]) -> str:
        said = [line for line in err.splitlines() if line.startswith("t3d: ")]
        if code is None:
            return "FAILED: hangs"
        if left:
            return f"FAILED: {len(left)} processes left"
        if code not in (0, 130):
            return f"FAILED: code {code}"
        if "Traceback" in err or "ignored in" in err or len(said) != (code == 130):
            return f"FAILED: code {code} with other words"
        if code == 130 and self.draw.random() > 1 / 3:
            return self.has_good_state(out)
        if code == 130:
            more = ("--resume",) if verb in RESUMED and (out / "trainer" / "state.pt").exists() else ()
            if verb in RESUMED and not more:
                more = ("--overwrite",)
            again = self.start(verb, out, *more)
            if again.wait() != 0:
                return f"FAILED: does not go on: {again.err.read_text()}"
        if not self.is_as_expected(verb, out):
            return "FAILED: another result"
        return "interrupted, went on to the same" if code == 130 else "was done already"

    def has_good_state(self, out: Path) -> str:
        """Only look at what is there, which takes less time than to go on with it."""
        state = out / "trainer" / "state.pt"
        if state.exists():
            torch.load(state, weights_only=True)
        halves = [path.name for path in out.rglob("*.partial*")]
        return f"FAILED: left {halves}" if halves else "interrupted"

    def is_as_expected(self, verb: str, out: Path) -> bool:
        other = self.expected[verb]
        if verb in RESUMED:
            ours, theirs = (load_file(folder / "last.safetensors") for folder in (out, other))
            return ours.keys() == theirs.keys() and all(torch.equal(ours[name], theirs[name]) for name in ours)
        names = [sorted(str(path.relative_to(folder)) for path in folder.rglob("*")) for folder in (out, other)]
        return names[0] == names[1]


def main() -> int:
    """Run the trials, print the counts; 1 where one failed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--trials", type=int, default=200)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--verbs", nargs="+", choices=VERBS, default=list(VERBS))
    options = parser.parse_args()
    torch.set_num_threads(1)
    folder = Path(tempfile.mkdtemp(prefix="t3d-stress-"))
    stress = Stress(folder, random.Random(options.seed))
    stress.prepare()
    counts: Counter[str] = Counter()
    for number in range(options.trials):
        counts[stress.trial(number, options.verbs[number % len(options.verbs)])] += 1
        if (number + 1) % 20 == 0:
            print(number + 1, dict(counts), flush=True)
    for result, count in sorted(counts.items()):
        print(f"{count:5d}  {result}")
    failed = any("FAILED" in result for result in counts)
    if not failed:
        shutil.rmtree(folder)
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
