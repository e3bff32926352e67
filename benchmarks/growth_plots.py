"""Figures of growth: time and memory over size, both axes logarithmic, with the fitted laws."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, NullFormatter

if TYPE_CHECKING:
    from benchmarks.growth import Growth, PowerLaw


def growth_figure(growths: "Sequence[Growth]") -> Figure:
    """Draw every work over one axis: seconds on the left, megabytes on the right."""
    figure = Figure(figsize=(10, 4), layout="constrained")
    left, right = figure.subplots(1, 2)
    for growth in growths:
        seconds = [measured.median if measured.seconds else None for measured in growth.measured]
        megabytes = [measured.peak_bytes / 1e6 or None for measured in growth.measured]
        _draw(left, growth, seconds, growth.time, scale=1.0)
        _draw(right, growth, megabytes, growth.memory, scale=1e-6)
    for axes, quantity in ((left, "seconds"), (right, "peak memory, MB")):
        axes.set_ylabel(quantity)
        _label(axes, growths[0])
    return figure


def _draw(
    axes: Axes, growth: "Growth", values: Sequence[float | None], law: "PowerLaw | None", *, scale: float
) -> None:
    """Points, and the law as a line through them."""
    points = [(size, value) for size, value in zip(growth.sizes, values, strict=True) if value is not None]
    if not points:
        return
    name = growth.work if law is None else f"{growth.work}: exponent {law}"
    (drawn,) = axes.plot(*zip(*points, strict=True), "o", label=name)
    if law is not None:
        axes.plot(growth.sizes, [scale * law(size) for size in growth.sizes], color=drawn.get_color(), linewidth=1)


def _label(axes: Axes, growth: "Growth") -> None:
    axes.set_xscale("log")
    axes.set_yscale("log")
    axes.set_xlabel(growth.axis)
    axes.set_xticks(growth.sizes, list(map(str, growth.sizes)))
    axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axes.yaxis.set_major_formatter(lambda value, _: f"{value:g}")
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_minor_formatter(NullFormatter())
    axes.grid(which="both", alpha=0.3)
    axes.set_title(growth.setting, fontsize=8)
    axes.legend()
