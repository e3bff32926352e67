"""Results as matplotlib figures."""

import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from t3d.files import complete

if TYPE_CHECKING:
    from torch import Tensor

MAX_LABELLED_CLASSES = 60
"""With more classes, names would overlap and are left out."""


def confusion_figure(counts: Sequence[Sequence[int]], labels: Sequence[str]) -> Figure:
    """Confusion matrix, rows (true classes) normalised, with counts if they are legible."""
    size = min(14.0, 3.5 + 0.36 * len(labels))
    figure = Figure(figsize=(size + 1, size), layout="constrained")
    axes = figure.subplots()
    shares = [[count / max(1, sum(row)) for count in row] for row in counts]
    image = axes.imshow(shares, cmap="Blues", vmin=0, vmax=1)
    figure.colorbar(image, ax=axes, shrink=0.7, label="share of the class")
    axes.set_xlabel("predicted")
    axes.set_ylabel("true")
    if len(labels) <= MAX_LABELLED_CLASSES:
        axes.set_xticks(range(len(labels)), labels, rotation=90, fontsize=8)
        axes.set_yticks(range(len(labels)), labels, fontsize=8)
    if len(labels) <= 25:
        for row, values in enumerate(counts):
            for column, count in enumerate(values):
                if count:
                    colour = "white" if shares[row][column] > 0.5 else "black"
                    axes.text(column, row, str(count), ha="center", va="center", fontsize=7, color=colour)
    return figure


def class_figure(accuracy: Mapping[int, tuple[float, int]], labels: Sequence[str]) -> Figure:
    """Top-1 of every class as horizontal bars, worst on top."""
    order = sorted(accuracy, key=lambda label: accuracy[label][0], reverse=True)
    figure = Figure(figsize=(7, min(40.0, 1.2 + 0.26 * len(order))), layout="constrained")
    axes = figure.subplots()
    axes.barh(range(len(order)), [accuracy[label][0] for label in order], color="#3b75af")
    axes.set_yticks(range(len(order)), [f"{labels[label]} ({accuracy[label][1]})" for label in order], fontsize=8)
    axes.set_xlim(0, 1)
    axes.set_xlabel("video top-1 (number of videos in brackets)")
    axes.grid(axis="x", alpha=0.3)
    return figure


def training_figure(rows: Sequence[Mapping[str, Any]], *, measure: str = "top1") -> Figure:
    """Loss and accuracy by epoch, of training clips and validation videos, if any.

    Args:
        rows: Of the log of a training.
        measure: Column of the accuracy, after `train_` and `validation_`.
    """
    figure = Figure(figsize=(9, 3.2), layout="constrained")
    left, right = figure.subplots(1, 2)
    for axes, quantity in ((left, "loss"), (right, measure)):
        for kind in ("train", "validation"):
            points = [
                (row["epoch"], row[f"{kind}_{quantity}"]) for row in rows if row.get(f"{kind}_{quantity}") is not None
            ]
            if points:
                axes.plot(*zip(*points, strict=True), label=kind, marker="." if len(points) < 40 else "")
        axes.set_xlabel("epoch")
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        if quantity == measure:
            axes.set_ylim(0, 1.02)
        axes.set_ylabel({"loss": "clip loss", "top1": "top-1"}.get(quantity, quantity))
        axes.grid(alpha=0.3)
        if axes.lines:
            axes.legend()
    return figure


def timeline_figure(
    scores: "Tensor", seconds: Sequence[tuple[float, float]], labels: Sequence[str], *, top: int
) -> Figure:
    """Scores (N, K) of successive clips over time, for the `top` classes with the highest maximum."""
    leaders = scores.max(dim=0).values.argsort(descending=True)[:top].tolist()
    figure = Figure(figsize=(11, 3.2), layout="constrained")
    axes = figure.subplots()
    edges = [*(start for start, _ in seconds), seconds[-1][1]]
    for label in leaders:
        axes.stairs(scores[:, label].tolist(), edges, label=labels[label], linewidth=1.8)
    axes.set_xlabel("seconds")
    axes.set_ylabel("score")
    axes.set_ylim(0, 1.02)
    axes.grid(alpha=0.3)
    axes.legend(loc="center left", bbox_to_anchor=(1.0, 0.5), fontsize=8)
    return figure


def save_figure(figure: Figure, path: Path) -> None:
    """Write a PNG; the file appears under its name only when complete."""
    with complete(path) as unfinished, warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Glyph .* missing from font")  # names of classes may be in any script
        figure.savefig(unfinished, format="png", dpi=110)
