"""The one order of differences: the surest first."""

import numpy as np

from backlight.tables import Table

ORDER = "by q, then by |t|"
"""The order in words."""


def surest_first(table: Table) -> Table:
    """Order differences by q, and those of the same q by the size of t, the largest first.

    Args:
        table: A row for each unit; where q is not known, it comes last.

    Returns:
        Its rows.
    """
    sizes, q = np.abs(np.nan_to_num(table["t"])), np.nan_to_num(table["q"], nan=np.inf)
    return table.select(np.lexsort((-sizes, q)))
