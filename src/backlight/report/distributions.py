"""One layer's numbers: how they are distributed, and each for itself with the largest named.

The tables have a column that counts, ``dimension`` or ``feature``, then the numbers, which are
called by how they were aggregated, and, if it is known, which are likely wrong. A panel can show
one table after another, which takes half as long as a new panel.
"""

from typing import Any, final

import numpy as np
from matplotlib.axes import Axes
from matplotlib.collections import PathCollection
from matplotlib.patches import StepPatch
from numpy.typing import NDArray

from backlight.report.colours import MODES, STAR
from backlight.report.names import PointNames
from backlight.report.wrong import COLUMN, is_wrong
from backlight.tables import Column, Table

_NUM_BINS, _NUM_STARS = 100, 20
_MANY = 5000  # points, above which each is drawn finer
_SCIENTIFIC = (-2, 4)


@final
class DistributionPanel:
    """How one layer's numbers are distributed, with their mean."""

    def __init__(self, axes: Axes, table: Table) -> None:
        """Draw a first table.

        Args:
            axes: Where to draw; the caller owns the figure.
            table: The numbers.
        """
        index, column = columns_of(table)
        self._axes = axes
        self._bars: StepPatch = axes.stairs([0], [0, 1], fill=True, color=MODES[column], alpha=0.85)
        self._mean = axes.axvline(0.0, color="black", linewidth=1, linestyle="--")
        axes.set_yscale("symlog", linthresh=1)  # a single dimension far out can be seen
        axes.ticklabel_format(axis="x", scilimits=_SCIENTIFIC)
        axes.set(xlabel=table.label(column), ylabel=f"number of {index}s")
        self._words = axes.legend(["values", "mean"], frameon=False).get_texts()
        self.show(table)

    def show(self, table: Table) -> None:
        """Draw another table of the same columns instead."""
        index, column = columns_of(table)
        values = table[column]
        edges = np.histogram_bin_edges(values, _NUM_BINS)
        mean = float(values.mean())
        self._bars.set_data(np.histogram(values, bins=edges)[0], edges)
        self._mean.set_xdata([mean, mean])
        self._words[0].set_text(f"{len(values):,} {index}s")
        self._words[1].set_text(f"mean {mean:.3g}")
        self._axes.relim()
        self._axes.autoscale_view()


@final
class ValuesPanel:
    """Each number of one layer, with the twenty largest starred and named, wrong ones crossed."""

    def __init__(self, axes: Axes, table: Table) -> None:
        """Draw a first table.

        Args:
            axes: Where to draw; the caller owns the figure.
            table: The numbers.
        """
        index, column = columns_of(table)
        self._axes = axes
        looks: dict[str, Any] = {"color": MODES[column], "linewidths": 0}
        self._points = axes.scatter([], [], **looks)
        star: dict[str, Any] = {"s": 28, "marker": "*", "color": STAR, "zorder": 3, "linewidths": 0}
        self._stars = axes.scatter([], [], **star)
        self._crosses = add_crosses(axes, np.zeros((0, 2)))
        self._zero = axes.axhline(0, color="black", linewidth=0.6)
        self._names = PointNames(axes, _NUM_STARS)
        axes.margins(y=0.12)
        axes.ticklabel_format(axis="y", scilimits=_SCIENTIFIC)
        axes.set(xlabel=index, ylabel=table.label(column))
        self.show(table)

    def show(self, table: Table) -> None:
        """Draw another table of the same columns instead."""
        index, column = columns_of(table)
        places, values = table[index], table[column]
        look = look_of_points(len(values))
        self._points.set(offsets=np.column_stack([places, values]))
        self._points.set(sizes=[look["s"]], alpha=look["alpha"])
        wrong = is_wrong(table)
        self._crosses.set_offsets(np.column_stack([places[wrong], values[wrong]]))
        largest = largest_of(values, _NUM_STARS)
        self._stars.set_offsets(np.column_stack([places[largest], values[largest]]))
        self._zero.set_visible(bool((values < 0).any()))
        shown = np.append(values, 0.0) if self._zero.get_visible() else values
        ends = [(places.min(), shown.min()), (places.max(), shown.max())]
        self._axes.dataLim.set_points(np.array(ends, dtype=np.float64))
        self._axes.autoscale_view()
        self._names.show(places[largest], values[largest])


def columns_of(table: Table) -> tuple[str, str]:
    """Name the column that counts, and that of the numbers."""
    index, column, *_ = table.columns
    return index, column


def add_crosses(
    axes: Axes, places: NDArray[np.floating[Any]], *, size: float = 16
) -> PathCollection:
    """Cross out points.

    Args:
        axes: Where.
        places: Where they are, ``[points, 2]``.
        size: How large the crosses are, in square points.

    Returns:
        The crosses.
    """
    looks: dict[str, Any] = {"color": "black", "linewidths": 0.6, "zorder": 2.5, "alpha": 0.8}
    return axes.scatter(places[:, 0], places[:, 1], s=size, marker="x", gid=COLUMN, **looks)


def look_of_points(count: int) -> dict[str, float]:
    """Choose how large points are, and how opaque, by how many there are in a panel."""
    return {"s": 5, "alpha": 0.5} if count <= _MANY else {"s": 1.5, "alpha": 0.25}


def largest_of(values: Column, most: int) -> Column:
    """Return the rows of the largest absolute values, the largest first."""
    return np.argsort(-np.abs(values), kind="stable")[:most]
