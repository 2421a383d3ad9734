"""Which cities are near a city, found once for each city that is asked about."""

import numpy as np
from numpy.typing import NDArray

from backlight.world.cities import Cities


class Neighbours:
    """The other cities within reach of each city, nearest first.

    Two cities at one place are each other's neighbours at distance 0; no city is its own.

    Args:
        cities: The cities.
        reach: The largest distance that will be asked for, in 0.1 degree; any, if None.
        most: How many neighbours are kept, the nearest; all, if None.
    """

    def __init__(
        self, cities: Cities, *, reach: int | None = None, most: int | None = None
    ) -> None:
        self._x, self._y = cities.x, cities.y
        self._reach, self._most = reach, most
        self._known: dict[int, tuple[NDArray[np.int32], NDArray[np.int32]]] = {}

    def nearest(self, row: int) -> NDArray[np.int32]:
        """Return the rows of neighbours, nearest first; at one distance in the table's order."""
        return self._around(row)[0]

    def within(self, row: int, low: int, high: int) -> NDArray[np.int32]:
        """Return the rows of neighbours from ``low`` to ``high`` away, ends included."""
        rows, squares = self._around(row)
        start = squares.searchsorted(low * low, side="left")
        return rows[start : squares.searchsorted(high * high, side="right")]

    def _around(self, row: int) -> tuple[NDArray[np.int32], NDArray[np.int32]]:
        if row not in self._known:
            squares = (self._x - self._x[row]) ** 2 + (self._y - self._y[row]) ** 2
            ranks = squares * len(squares) + np.arange(len(squares))  # no two cities rank the same
            near = np.arange(len(squares))
            if self._reach is not None:
                near = np.flatnonzero(squares <= self._reach**2)
            near = near[near != row]
            if self._most is not None and self._most < len(near):
                near = near[np.argpartition(ranks[near], self._most)[: self._most]]
            near = near[np.argsort(ranks[near])]
            self._known[row] = near.astype(np.int32), squares[near].astype(np.int32)
        return self._known[row]
