"""What was measured, by size: the largest rows of a table, and whether their order is sure."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from backlight.report.intervals import NORMAL_95
from backlight.tables import Table


@dataclass(frozen=True, slots=True, kw_only=True)
class Estimate:
    """A number that was measured, with its error.

    Attributes:
        name: What it is the number of, such as ``layer 3``.
        value: The number.
        error: Its standard error; NaN where it is not known.
    """

    name: str
    value: float
    error: float = math.nan

    @property
    def is_sure(self) -> bool:
        """Whether zero is outside of its 95 % interval."""
        return abs(self.value) > NORMAL_95 * self.error

    def is_apart(self, other: "Estimate") -> bool:
        """Whether the 95 % intervals of the sizes of both numbers do not overlap."""
        room = NORMAL_95 * (self.error + other.error)
        return abs(abs(self.value) - abs(other.value)) > room


def largest(table: Table, column: str, most: int | None = None) -> Table:
    """Order the rows of a table by the size of a number, the largest first.

    Args:
        table: The table.
        column: The number; where it is not known, it counts as 0.
        most: How many rows are kept; None for all.

    Returns:
        The rows.
    """
    sizes = np.nan_to_num(np.abs(table[column]))
    order = np.argsort(-sizes, kind="stable")[:most]
    return table.select(order)


def estimates(table: Table, column: str, names: Sequence[str]) -> list[Estimate]:
    """Read a number of each row, with its error from the column ``*_se``, if there is one.

    Args:
        table: The table.
        column: The number.
        names: What each row is called.

    Returns:
        The numbers.
    """
    values = table[column].tolist()
    error = f"{column}_se"
    errors = table[error].tolist() if error in table else [math.nan] * len(values)
    return [
        Estimate(name=name, value=value, error=error)
        for name, value, error in zip(names, values, errors, strict=True)
    ]
