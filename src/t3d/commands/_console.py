"""Progress on stderr; one line per epoch if it is not a terminal."""

import sys
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, TypeVar

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from t3d.system import is_first_process

if TYPE_CHECKING:
    import t3d.training.loop  # which imports PyTorch

Item = TypeVar("Item")

console = Console(stderr=True, highlight=False)
"""Progress and warnings go to stderr, results to stdout."""


def warn(text: str) -> None:
    """Print a warning, on the first process only."""
    if is_first_process():
        console.print(f"warning: {text}", style="yellow", markup=False, soft_wrap=True)


def log(text: str) -> None:
    """Print one line of progress, on the first process only."""
    if is_first_process():
        console.print(text, markup=False, soft_wrap=True)


@contextmanager
def bar(what: str, *, total: int | None) -> Iterator[Progress]:
    """Show a progress bar with the time left, on a terminal."""
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
    )
    shown = sys.stderr.isatty() and is_first_process()
    with Progress(*columns, console=console, transient=True, disable=not shown) as progress:
        progress.add_task(what, total=total)
        yield progress


def counted(items: Iterable[Item], what: str, *, total: int) -> Iterator[Item]:
    """Pass items on, and show their number."""
    with bar(what, total=total) as progress:
        for item in items:
            yield item
            progress.advance(progress.task_ids[0])


class TrainingReporter:
    """A bar over all updates with the time left, and one line per epoch."""

    def __init__(
        self, progress: Progress, *, num_steps: int, num_epochs: int, first_step: int, measure: str = "top1"
    ) -> None:
        from t3d.training.loop import MEASURES

        self.progress = progress
        self.measure = measure
        self.written = MEASURES[measure]
        self.num_steps = num_steps
        self.num_epochs = num_epochs
        self.first_step = first_step
        self.started = time.monotonic()

    def step(self, progress: "t3d.training.loop.Progress") -> None:
        """Move the bar."""
        self.progress.update(self.progress.task_ids[0], completed=progress.step)

    def epoch(self, row: Mapping[str, Any]) -> None:
        """Print the values of an epoch and the expected end; of many epochs, about twenty."""
        if row["epoch"] % max(1, self.num_epochs // 20) and row["step"] < self.num_steps:
            return
        text = f"epoch {row['epoch']:>3}/{self.num_epochs}  {self._figures(row, 'train')}"
        if "validation_loss" in row:
            text += f"  | validation: {self._figures(row, 'validation')}"
        done = row["step"] - self.first_step
        left = (time.monotonic() - self.started) * (self.num_steps - row["step"]) / max(1, done)
        log(f"{text}  | {row['seconds']:.0f} s, about {left:.0f} s left")

    def _figures(self, row: Mapping[str, Any], part: str) -> str:
        return f"loss {row[f'{part}_loss']:.3f}  {self.written} {row[f'{part}_{self.measure}']:.1%}"
