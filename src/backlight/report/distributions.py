"""One layer's numbers: how they are distributed, each for itself, and two against each other.

The tables have two columns: one that counts, ``dimension`` or ``feature``, and the numbers, which
are called by how they were aggregated.
"""

from typing import Any

import numpy as np
from matplotlib.axes import Axes
from numpy.typing import NDArray

from backlight.report.colours import MODES, STAR
from backlight.report.names import name_points
from backlight.report.scales import CommonScale
from backlight.tables import Table

_NUM_BINS, _NUM_SMALL_BINS = 100, 50
_NUM_STARS, _NUM_SMALL_STARS = 20, 5
_MANY = 5000  # points, above which each is drawn finer
_SCIENTIFIC = (-2, 4)


def draw_distribution(axes: Axes, table: Table) -> None:
    """Draw how one layer's numbers are distributed, with their mean.

    Args:
        axes: Where to draw; the caller owns the figure.
        table: The numbers.
    """
    index, column = table.columns
    values = table[column]
    _draw_bars(axes, table, np.histogram_bin_edges(values, _NUM_BINS))
    axes.ticklabel_format(axis="x", scilimits=_SCIENTIFIC)
    axes.set(xlabel=table.label(column), ylabel=f"number of {index}s")
    axes.legend([f"{len(values):,} {index}s", f"mean {values.mean():.3g}"], frameon=False)


def draw_distribution_on(axes: Axes, table: Table, scale: CommonScale) -> None:
    """Draw how one layer's numbers are distributed, on a horizontal scale that layers share."""
    _draw_bars(axes, table, scale.edges(_NUM_SMALL_BINS))
    axes.set_xscale(scale.name, **scale.options)
    scale.limit_ticks(axes.xaxis)


def draw_values(axes: Axes, table: Table) -> None:
    """Draw each number, with the twenty largest starred and named.

    Args:
        axes: Where to draw; the caller owns the figure.
        table: The numbers.
    """
    index, column = table.columns
    largest = _draw_points(axes, table, num_stars=_NUM_STARS)
    axes.margins(y=0.12)
    axes.ticklabel_format(axis="y", scilimits=_SCIENTIFIC)
    axes.set(xlabel=index, ylabel=table.label(column))
    axes.autoscale_view()
    name_points(axes, table[index][largest], table[column][largest])


def draw_values_on(axes: Axes, table: Table, scale: CommonScale) -> None:
    """Draw each number, with the five largest starred, on a vertical scale that layers share."""
    _draw_points(axes, table, num_stars=_NUM_SMALL_STARS)
    axes.set_yscale(scale.name, **scale.options)
    scale.limit_ticks(axes.yaxis)


def draw_against(axes: Axes, table: Table) -> None:
    """Draw the signed mean against the mean of absolute values, both over the largest of these.

    On the grey lines, a dimension always has one sign; on the middle one, signs cancel.

    Args:
        axes: Where to draw; the caller owns the figure.
        table: Columns ``mean`` and ``mean_abs`` of one layer.
    """
    largest = float(table["mean_abs"].max()) or 1.0
    for sign in (1, 0, -1):
        axes.plot([0, 1], [0, sign], color="grey", linewidth=0.7)
    looks: dict[str, Any] = {"s": 4, "color": "#6b46c1", "alpha": 0.5, "linewidths": 0}
    x, y = (table[name] / largest for name in ("mean_abs", "mean"))
    axes.scatter(x, y, rasterized=True, **looks)


def _draw_bars(axes: Axes, table: Table, edges: NDArray[np.float64]) -> None:
    _, column = table.columns
    counts, _ = np.histogram(table[column], bins=edges)
    axes.stairs(counts, edges, fill=True, color=MODES[column], alpha=0.85)
    axes.axvline(float(table[column].mean()), color="black", linewidth=1, linestyle="--")
    axes.set_yscale("symlog", linthresh=1)  # a single dimension far out can be seen


def _draw_points(axes: Axes, table: Table, *, num_stars: int) -> NDArray[np.int64]:
    """Draw all numbers and star the largest; return the rows of these."""
    index, column = table.columns
    places, values = table[index], table[column]
    size, alpha = (5, 0.5) if len(values) <= _MANY else (1.5, 0.25)
    looks: dict[str, Any] = {"color": MODES[column], "linewidths": 0, "rasterized": True}
    axes.scatter(places, values, s=size, alpha=alpha, **looks)
    largest = np.argsort(-np.abs(values), kind="stable")[:num_stars]
    star: dict[str, Any] = {"s": 28, "marker": "*", "color": STAR, "zorder": 3, "linewidths": 0}
    axes.scatter(places[largest], values[largest], **star)
    if (values < 0).any():
        axes.axhline(0, color="black", linewidth=0.6)
    return largest
