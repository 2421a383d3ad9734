"""How large single values are in each layer: the share of each size, by octaves."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from backlight.tables import Table

_TINY = float(np.finfo(np.float32).tiny)
_LOWEST_SHARE = 0.0005  # of all values may be smaller than the lowest row of sizes


@dataclass(frozen=True, slots=True, kw_only=True)
class Sizes:
    """Shares of sizes.

    Attributes:
        layers: The layers.
        octaves: The upper end of each row is 2 to the power of this, its lower end half of that;
            the lowest row holds all below, too.
        shares: In each row, the share of a layer's values that have this size, ``[rows, layers]``;
            NaN where there is none.
    """

    layers: NDArray[np.int64]
    octaves: NDArray[np.int64]
    shares: NDArray[np.float64]


def sizes_of(table: Table) -> Sizes:
    """Add up a histogram of signed values by their sizes.

    Args:
        table: Columns ``layer``, ``lower``, ``upper`` and ``count``: bins of signed values.

    Returns:
        The shares of sizes.
    """
    layers = np.unique(table["layer"])
    sizes = np.maximum(np.abs(table["lower"]), np.abs(table["upper"]))
    # Both signs of a size are one row, and rows are octaves: bins of any run are merged, never cut.
    octaves = np.ceil(np.log2(np.maximum(sizes, _TINY))).astype(int)
    filled = table["count"] > 0
    seen = filled & (sizes > _TINY)
    seen = seen if seen.any() else filled  # all was zero
    floor, top = _quantile(octaves[seen], table["count"][seen]), int(octaves[seen].max())
    counts = np.zeros((top - floor + 1, len(layers)))
    rows, columns = np.maximum(octaves, floor) - floor, np.searchsorted(layers, table["layer"])
    np.add.at(counts, (rows[filled], columns[filled]), table["count"][filled])
    shares = np.where(counts > 0, counts, np.nan) / counts.sum(axis=0)
    return Sizes(layers=layers, octaves=np.arange(floor, top + 1), shares=shares)


def _quantile(octaves: NDArray[np.int64], counts: NDArray[np.int64]) -> int:
    """Find the octave below which there is hardly a value."""
    order = np.argsort(octaves, kind="stable")
    reached = np.cumsum(counts[order]) >= _LOWEST_SHARE * counts.sum()
    return int(octaves[order][reached.argmax()])
