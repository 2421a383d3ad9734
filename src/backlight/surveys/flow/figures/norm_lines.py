"""Statistics of norms as lines over layers, one for each norm of a block, beside chance."""

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator
from numpy.typing import NDArray

from backlight.report.lines import fill_band, interval
from backlight.tables import Column, Table

CHANCE = "chance"
"""The ``gid`` of the lines of what chance would give."""

FINAL = "final_norm"
"""The norm that is in no layer."""

_COLOURS = {
    "norm1": "#2b6cb0",
    "norm1_post": "#63b3ed",
    "norm2": "#b5542b",
    "norm2_post": "#f0a36b",
    "attn.q_norm": "#2f855a",
    "attn.k_norm": "#86c79a",
    FINAL: "#2b2f38",
}
_OTHER = "#9467bd"
_BEHIND = 0.09  # of all layers, the final norm's place behind the last
_MANY = 40  # layers, above which points are not marked


def colour_of(norm: str) -> str:
    """Return the colour of a norm, the same in all panels."""
    return _COLOURS.get(norm, _OTHER)


def names_of(table: Table) -> list[str]:
    """List the norms of a table by their names in a layer."""
    return list(dict.fromkeys(str(name) for name in table["norm"]))


def draw_norm_lines(axes: Axes, table: Table, column: str, *, is_plain: bool = False) -> None:
    """Draw a statistic of all norms with bands, and dotted what chance would give.

    Bands are of 95 %; of norms of single heads, from the least head to the largest.

    Args:
        axes: Where to draw; the caller owns the figure.
        table: The table of norms.
        column: The statistic; its error and its chance are used if they are there.
        is_plain: Draw a dashed line, without band and marks.
    """
    for name in names_of(table):
        own = table.select(table["norm"] == name)
        places = _places(table, own)
        x = np.unique(places)
        by_layer = [own.select(places == place) for place in x]
        colour, values = colour_of(name), np.array([rows[column].mean() for rows in by_layer])
        if is_plain:
            marker = "_" if len(x) < 3 else ""
            axes.plot(x, values, color=colour, marker=marker, linewidth=0.9, linestyle="--")
            continue
        marker = "D" if name == FINAL else "o" if len(x) <= _MANY else ""
        axes.plot(x, values, color=colour, marker=marker, markersize=3, linewidth=1.2)
        low, high = np.array([_ends(rows, column) for rows in by_layer]).T
        fill_band(axes, x, low, high, colour=colour)
        if f"{column}_chance" in table.columns:
            _draw_chance(axes, x, [rows[f"{column}_chance"][0] for rows in by_layer], colour)


def mark_layers(axes: Axes, table: Table) -> None:
    """Number the layers, and name the place of the final norm behind them.

    Args:
        axes: Where lines were drawn.
        table: The table of norms.
    """
    layers = table["layer"][np.isfinite(table["layer"])]
    ticks: list[float] = []
    if len(layers):
        locator = MaxNLocator(nbins=5, integer=True, min_n_ticks=1)
        found = locator.tick_values(float(layers.min()), float(layers.max()))
        ticks = [tick for tick in found if tick in range(int(layers.min()), int(layers.max()) + 1)]
    names = [f"{tick:.0f}" for tick in ticks]
    if (table["norm"] == FINAL).any():
        ticks, names = [*ticks, _behind(table)], [*names, "final"]
    axes.set_xticks(ticks, names)
    ends = [*layers, *ticks]
    edge = max(0.5, 0.05 * np.ptp(ends))
    axes.set_xlim(min(ends) - edge, max(ends) + edge)


def _draw_chance(axes: Axes, x: NDArray[np.float64], levels: list[float], colour: str) -> None:
    if len(x) == 1:
        x, levels = x[0] + np.array([-0.4, 0.4]), 2 * levels
    axes.plot(x, levels, color=colour, linewidth=1, linestyle=":", gid=CHANCE)


def _places(table: Table, own: Table) -> Column:
    return np.where(np.isnan(own["layer"]), _behind(table), own["layer"])


def _behind(table: Table) -> float:
    layers = table["layer"][np.isfinite(table["layer"])]
    if not len(layers):
        return 0.0
    return float(layers.max() + max(1.0, _BEHIND * np.ptp(layers)))


def _ends(rows: Table, column: str) -> tuple[float, float]:
    """Find the ends of a band: of one norm by its error, of heads the least and the largest."""
    values = rows[column]
    if rows.num_rows > 1:
        return float(values.min()), float(values.max())
    low, high = interval(values, rows[f"{column}_se"])
    return float(low[0]), float(high[0])
