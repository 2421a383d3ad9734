"""Lines over layers with bands of 95 %, on scales that zeros and wide bands do not break."""

import numpy as np
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.colors import to_hex
from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullFormatter

from backlight.report.strength import brief
from backlight.tables import Column, Table

HALVES = {"attention": "#2b6cb0", "mlp": "#b5542b", "block": "#2f855a"}
"""One colour for each half of a block, and one for parallel blocks as a whole."""

BANDS = "Bands: 95 % (1.96 standard errors, clustered by passage; none of a single passage)."
_NORMAL_95 = 1.96
_NARROW = 50.0  # times, up to which a logarithmic axis needs more than powers of ten
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
        colour: Of line and band.
        label: What a legend calls it.
    """
    values, error = table[column], _NORMAL_95 * table[f"{column}_se"]
    axes.plot(x, values, color=colour, linewidth=1.3, marker="o", markersize=3, label=label)
    low = np.where(values > 0, np.maximum(values - error, _LEAST * values), values - error)
    axes.fill_between(x, low, values + error, color=colour, alpha=0.2, linewidth=0)
    if len(x) < 4:
        axes.vlines(x, low, values + error, color=colour, linewidth=1, alpha=0.6)


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


def make_logarithmic(*panels: Axes) -> None:
    """Put panels on one logarithmic scale that shows all lines, not how far down bands reach.

    Args:
        *panels: Where lines were drawn; nothing is done if no value is above zero.
    """
    lines = [line.get_ydata() for axes in panels for line in axes.lines]
    values = np.concatenate([np.empty(0), *(np.asarray(line, np.float64) for line in lines)])
    values = values[np.isfinite(values) & (values > 0)]
    for axes in panels if len(values) else ():
        axes.set_yscale("log")
        axes.set_ylim(bottom=float(values.min()) / 1.6)
        axes.yaxis.set_minor_formatter(NullFormatter())
        if values.max() < _NARROW * values.min():
            axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
            axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: brief(value)))


def shades(count: int) -> list[str]:
    """Give so many colours, from dark to bright."""
    return [to_hex(rgb) for rgb in colormaps["viridis"](np.linspace(0, 0.9, count))]


def range_name(first: float, last: float) -> str:
    """Name a range of positions or distances; the last one is open.

    Args:
        first: Its first.
        last: Its last; NaN if it is open.

    Returns:
        Such as ``0``, ``2-3`` or ``65,536+``.
    """
    if np.isnan(last):
        return f"{first:,.0f}+"
    return f"{first:,.0f}" if first == last else f"{first:,.0f}\u2013{last:,.0f}"
