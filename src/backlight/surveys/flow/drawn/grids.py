"""Heads by layer, and layers by distance, as numbers in rows and columns."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from backlight.tables import Column, Table

_EVEN = {"shrink": "even_shrink", "entropy": "even_entropy"}
"""What is shown as a multiple of what even weights would give, and that."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Grid:
    """Numbers in rows and columns that have names.

    Attributes:
        values: ``[rows, columns]``; NaN where there is no value.
        rows: What each row is called, from below.
        columns: What each column is called.
    """

    values: NDArray[np.float64]
    rows: Sequence[str]
    columns: Sequence[str]


def heads_by_layer(table: Table, name: str) -> Grid:
    """Put a measure of heads, or its standard error, in rows of heads and columns of layers.

    Args:
        table: The table of heads.
        name: The column. What the softmax passes, and entropies, are divided by what even weights
            would give; so are their errors.

    Returns:
        The grid; a head that a layer does not have is blank.
    """
    layers, columns = np.unique(table["layer"], return_inverse=True)
    heads, rows = np.unique(table["head"], return_inverse=True)
    values = np.full((len(heads), len(layers)), np.nan)
    even = _EVEN.get(name.removesuffix("_se"))
    values[rows, columns] = table[name] if even is None else _over(table[name], table[even])
    return Grid(values=values, rows=_numbers(heads), columns=_numbers(layers))


def layers_by_distance(table: Table, name: str) -> Grid:
    """Average a column of the table of distances over the heads of each layer.

    Args:
        table: The table of distances.
        name: The column.

    Returns:
        The grid; a distance that a layer does not have is blank.
    """
    layers, rows = np.unique(table["layer"], return_inverse=True)
    starts, first, columns = np.unique(
        table["distance_first"], return_index=True, return_inverse=True
    )
    known = np.isfinite(table[name])
    sums, counts = np.zeros((2, len(layers), len(starts)))
    np.add.at(sums, (rows[known], columns[known]), table[name][known])
    np.add.at(counts, (rows[known], columns[known]), 1)
    return Grid(
        values=_over(sums, counts),
        rows=_numbers(layers),
        columns=list(map(range_name, starts, table["distance_last"][first])),
    )


def range_name(first: float, last: float) -> str:
    """Name a range of positions or distances; the last one is open.

    Args:
        first: The first of the range.
        last: The last of the range; NaN if it is open.

    Returns:
        A name such as ``0``, ``2-3`` or ``65,536+``.
    """
    if np.isnan(last):
        return f"{first:,.0f}+"
    return f"{first:,.0f}" if first == last else f"{first:,.0f}\u2013{last:,.0f}"


def _over(above: NDArray[np.float64], below: NDArray[np.float64]) -> NDArray[np.float64]:
    """Divide; what is divided by zero is not known."""
    return np.divide(above, below, out=np.full(np.shape(above), np.nan), where=below > 0)


def _numbers(values: Column) -> list[str]:
    return [f"{value:.0f}" for value in values]
