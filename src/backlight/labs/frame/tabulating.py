"""From blocks of rows to a table, and from the rows of a table to sentences."""

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from backlight.tables import Table

Block = Mapping[str, Any]
"""Rows of a table, by the names of columns: values that stand in all of them, and columns."""


def stacked(name: str, blocks: Iterable[Block], units: Mapping[str, str] | None = None) -> Table:
    """Stack blocks of rows into a table.

    A block is what one condition of an experiment contributes: its own names, each a single value
    that stands in all rows of the block, beside columns of what was measured. A block of single
    values is a single row.

    >>> rows = [{"rule": "bp", "step": [0, 1]}, {"rule": "fa", "step": [0, 1]}]
    >>> stacked("losses", rows)
    Table 'losses', 4 rows:
      rule  bp, bp, fa, fa
      step  0, 1, 0, 1

    Args:
        name: The table's name.
        blocks: Single values and columns by the columns' names; all blocks have the same names.
        units: The unit of each column that has one.

    Returns:
        The table, with columns in the order of the first block.
    """
    laid = [dict(zip(block, np.broadcast_arrays(*block.values()), strict=True)) for block in blocks]
    columns = {
        key: np.concatenate([np.atleast_1d(block[key]) for block in laid]) for key in laid[0]
    }
    return Table(name=name, columns=columns, units=units or {})


def sentences(table: Table, template: str) -> list[str]:
    """Fill in a sentence for each row of a table.

    >>> losses = stacked("losses", [{"rule": ["bp", "fa"], "loss": [2.25, 2.5]}])
    >>> sentences(losses, "{rule} reaches {loss:.2f}.")
    ['bp reaches 2.25.', 'fa reaches 2.50.']

    Args:
        table: The table.
        template: The sentence, with names of columns in braces, as for ``str.format``.

    Returns:
        The sentences.
    """
    rows = zip(*table.values(), strict=True)
    return [template.format(**dict(zip(table, row, strict=True))) for row in rows]
