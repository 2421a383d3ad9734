"""A statistic of all norms as lines over layers, with intervals and what chance would give."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from backlight.report.intervals import NORMAL_95
from backlight.tables import Column, Table

FINAL = "final_norm"
"""The norm that is in no layer."""

_BEHIND = 0.09  # of all layers, the final norm's place behind the last


@dataclass(frozen=True, slots=True, kw_only=True)
class NormLine:
    """A statistic of one norm of every layer; the mean over heads where they have norms apart.

    Attributes:
        name: The norm's name in a layer.
        x: The layers; of the final norm its place behind them.
        values: The statistic.
        low: The lower ends of 95 % intervals; of norms of single heads, the least head.
        high: The upper ends; of norms of single heads, the largest.
        chance: What a gradient would give that has nothing to do with the norm's input, if known.
    """

    name: str
    x: NDArray[np.float64]
    values: NDArray[np.float64]
    low: NDArray[np.float64]
    high: NDArray[np.float64]
    chance: NDArray[np.float64] | None


def norm_lines(table: Table, column: str) -> Iterator[NormLine]:
    """Make a line of each norm.

    Args:
        table: The table of norms, or rows of it.
        column: The statistic; ``{column}_se`` and ``{column}_chance`` are used if they are there.

    Yields:
        The lines, in the order of the table.
    """
    for name in norm_names(table):
        own = table.select(table["norm"] == name)
        places = _places(table, own)
        x = np.unique(places)
        by_layer = [own.select(places == place) for place in x]
        low, high = np.array([_ends(rows, column) for rows in by_layer]).T
        chance = f"{column}_chance"
        yield NormLine(
            name=name,
            x=x,
            values=np.array([rows[column].mean() for rows in by_layer]),
            low=low,
            high=high,
            chance=np.array([rows[chance][0] for rows in by_layer]) if chance in table else None,
        )


def norm_names(table: Table) -> list[str]:
    """List the norms of a table by their names in a layer."""
    return list(dict.fromkeys(str(name) for name in table["norm"]))


def behind(table: Table) -> float:
    """Choose the place of the final norm behind the last layer."""
    layers = table["layer"][np.isfinite(table["layer"])]
    if not len(layers):
        return 0.0
    return float(layers.max() + max(1.0, _BEHIND * np.ptp(layers)))


def told_norm(table: Table, name: str) -> str:
    """Say what a norm is: its kind and width, and whether heads have their own."""
    own = table.select(table["norm"] == name)
    kind = {"rms": "RMS"}.get(str(own["kind"][0]), "layer")
    width = ", ".join(str(each) for each in np.unique(own["width"]))
    by_head = ", by head" if np.isfinite(own["head"]).any() else ""
    return f"{kind} norm of {width}{by_head}"


def _places(table: Table, own: Table) -> Column:
    return np.where(np.isnan(own["layer"]), behind(table), own["layer"])


def _ends(rows: Table, column: str) -> tuple[float, float]:
    """Find the ends of a band: of one norm by its error, of heads the least and the largest."""
    values = rows[column]
    if rows.num_rows > 1:
        return float(values.min()), float(values.max())
    error = f"{column}_se"
    reach = NORMAL_95 * float(rows[error][0]) if error in rows else np.nan
    return float(values[0]) - reach, float(values[0]) + reach
