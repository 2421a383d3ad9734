"""Lines over layers with bands of 95 %, and what stands around them in a panel."""

from typing import Any, Literal

import numpy as np
from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator
from numpy.typing import NDArray

from backlight.report.intervals import NORMAL_95
from backlight.tables import Column, Table

BANDS = "Bands: 95 % (1.96 standard errors, clustered by passage; none of a single passage)."

_LEAST = 1e-3  # of a value, where a band that reaches zero ends on a logarithmic axis


def draw_band(
    axes: Axes, x: Column, table: Table, column: str, *, colour: str, label: str = ""
) -> None:
    """Draw a statistic with the 95 % band of its standard error, if that is known.

    Args:
        axes: Where to draw; the caller owns the figure.
        x: Where each row is.
        table: The statistic, and ``{statistic}_se``.
        column: The statistic.
        colour: The colour of line and band.
        label: What a legend calls it.
    """
    values = table[column]
    axes.plot(x, values, color=colour, linewidth=1.3, marker="o", markersize=3, label=label)
    fill_band(axes, x, *interval(values, table[f"{column}_se"]), colour=colour)


def interval(
    values: NDArray[np.float64], errors: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Compute the ends of 95 % intervals; of a positive value, both are positive."""
    low, high = values - NORMAL_95 * errors, values + NORMAL_95 * errors
    # Zero has no place on a logarithmic axis: a band that reaches it would vanish.
    return np.where(values > 0, np.maximum(low, _LEAST * values), low), high


def fill_band(
    axes: Axes, x: Column, low: Column, high: Column, *, colour: str, label: str = ""
) -> None:
    """Fill the room between two lines; of less than four places, draw a bar at each."""
    axes.fill_between(x, low, high, color=colour, alpha=0.2, linewidth=0, label=label)
    if len(x) < 4:
        axes.vlines(x, low, high, color=colour, linewidth=1, alpha=0.6)


def finish(axes: Axes, *, y: str, x: str = "layer") -> None:
    """Name the axes, and choose the look of lines behind what is drawn.

    Args:
        axes: Where lines were drawn.
        y: What is vertical, with its unit.
        x: What is horizontal; layers and depths are whole numbers.
    """
    axes.set(xlabel=x, ylabel=y)
    axes.grid(color="#e3e3e3", linewidth=0.6)
    axes.set_axisbelow(True)
    if x in ("layer", "depth"):
        axes.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))


def sample(colour: str, marker: str = "", *, line: Literal["-", "--", ":", ""] = "-") -> Line2D:
    """Make the sample of a line, or of a point, that stands in a legend."""
    return Line2D([], [], color=colour, marker=marker, markersize=4, linestyle=line, linewidth=1.1)


def write_instead(axes: Axes, text: str) -> None:
    """Write in the middle of a panel why nothing is drawn there."""
    place: dict[str, Any] = {"transform": axes.transAxes, "ha": "center", "va": "center"}
    axes.text(0.5, 0.5, text, fontsize=8.5, color="#5a6472", **place)
    axes.set(xticks=[], yticks=[])
