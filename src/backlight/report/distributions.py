"""One layer's numbers: how they are distributed, and each for itself with the largest named.

The tables have two columns: one that counts, ``dimension`` or ``feature``, and the numbers, which
are called by how they were aggregated. A panel can show one table after another, which takes half
as long as a new panel.
"""

from typing import Any, final

import numpy as np
from matplotlib.axes import Axes
from matplotlib.patches import StepPatch

from backlight.report.colours import MODES, STAR
from backlight.report.names import PointNames
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
        index, column = table.columns
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
        index, column = table.columns
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
    """Each number of one layer, with the twenty largest starred and named."""

    def __init__(self, axes: Axes, table: Table) -> None:
        """Draw a first table.

        Args:
            axes: Where to draw; the caller owns the figure.
            table: The numbers.
        """
        index, column = table.columns
        self._axes = axes
        looks: dict[str, Any] = {"color": MODES[column], "linewidths": 0}
        self._points = axes.scatter([], [], **looks)
        star: dict[str, Any] = {"s": 28, "marker": "*", "color": STAR, "zorder": 3, "linewidths": 0}
        self._stars = axes.scatter([], [], **star)
        self._zero = axes.axhline(0, color="black", linewidth=0.6)
        self._names = PointNames(axes, _NUM_STARS)
        axes.margins(y=0.12)
        axes.ticklabel_format(axis="y", scilimits=_SCIENTIFIC)
        axes.set(xlabel=index, ylabel=table.label(column))
        self.show(table)

    def show(self, table: Table) -> None:
        """Draw another table of the same columns instead."""
        index, column = table.columns
        places, values = table[index], table[column]
        look = look_of_points(len(values))
        self._points.set(offsets=np.column_stack([places, values]))
        self._points.set(sizes=[look["s"]], alpha=look["alpha"])
        largest = largest_of(values, _NUM_STARS)
        self._stars.set_offsets(np.column_stack([places[largest], values[largest]]))
        self._zero.set_visible(bool((values < 0).any()))
        shown = np.append(values, 0.0) if self._zero.get_visible() else values
        ends = [(places.min(), shown.min()), (places.max(), shown.max())]
        self._axes.dataLim.set_points(np.array(ends, dtype=np.float64))
        self._axes.autoscale_view()
        self._names.show(places[largest], values[largest])


def look_of_points(count: int) -> dict[str, float]:
    """Choose how large points are, and how opaque, by how many there are in a panel."""
    return {"s": 5, "alpha": 0.5} if count <= _MANY else {"s": 1.5, "alpha": 0.25}


def largest_of(values: Column, most: int) -> Column:
    """Return the rows of the largest absolute values, the largest first."""
    return np.argsort(-np.abs(values), kind="stable")[:most]
