"""Columns that say how far first-order predictions of a table's units can be believed."""

from collections.abc import Sequence

import numpy as np

from backlight.stats.first_order import WARNING_COLUMNS, WARNING_UNITS, FirstOrderResult
from backlight.tables import Table


def with_warnings(table: Table, parts: Sequence[FirstOrderResult]) -> Table:
    """Add the columns to a table.

    Args:
        table: One row for each unit.
        parts: The numbers of the units, side by side in the order of the rows.

    Returns:
        The table with ``relative_size``, ``predicted_change``, ``warning_index`` and
        ``likely_wrong`` behind its own columns.
    """
    found = {
        name: np.concatenate([getattr(each, name) for each in parts]) for name in WARNING_COLUMNS
    }
    return Table(
        name=table.name, columns={**table, **found}, units={**table.units, **WARNING_UNITS}
    )
