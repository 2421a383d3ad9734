"""How many cities are asked about: few at first, more as the model gets good at these.

A model that is asked about thousands of cities from the start learns nothing for a long time: each
city comes too rarely. With a few it finds out what the questions are about; further cities then
only need a place in what it has found.
"""

from typing import final

import numpy as np
from numpy.typing import NDArray

_MEMORY = 0.95  # what a step keeps of the running mean of the loss


@final
class GrowingCities:
    """The number of cities that are asked about.

    Args:
        first: How many at first.
        all_cities: How many at last.
        below: They become more in each step in which the running mean of the loss is below this.
        rate: By what share they become more.
    """

    def __init__(self, first: int, all_cities: int, *, below: float, rate: float) -> None:
        self._number = float(min(first, all_cities))
        self._all_cities = all_cities
        self._below, self._rate = below, rate
        self._loss = float("inf")

    @property
    def number(self) -> int:
        """How many cities are asked about now."""
        return int(self._number)

    def update(self, loss: float) -> None:
        """Update the running mean of the loss by that of a step, in nats per token."""
        before = loss if self._loss == float("inf") else self._loss
        self._loss = _MEMORY * before + (1.0 - _MEMORY) * loss
        if self._loss < self._below:
            self._number = min(self._number * (1.0 + self._rate), float(self._all_cities))

    def state(self) -> NDArray[np.float64]:
        """Copy what is remembered."""
        return np.array([self._number, self._loss])

    def load(self, state: NDArray[np.float64]) -> None:
        """Restore what ``state`` returned."""
        self._number, self._loss = (float(value) for value in state)
