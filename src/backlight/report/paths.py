"""What paths add up to, as figures and pages tell it: the columns, what they are called, kinds."""

import numpy as np

from backlight.tables import Table

CHANGES = {
    "true_change": "true change",
    "path": "sum along the path",
    "first_order": "first order",
}
"""The columns of a table of completeness that are changes, and what they are called."""

RESIDUALS = {
    "residual_median": "median passage",
    "residual_max": "worst passage",
    "residual": "of the averages",
}
"""The columns that say how far the path is from the truth, and what they are called."""

READING = (
    "Change: the objective with the site's tensor set to zero, less the objective as it is; first "
    "order is what the gradient predicts.",
    "Missing: |sum along the path - true change| / |true change|.",
)
"""How to read them."""

LEAST = 1e-6
"""The smallest residual that is drawn: less is rounding."""


def kinds_of(table: Table) -> dict[str, Table]:
    """Divide a table by the kind of its sites: names that differ in the layer only.

    Args:
        table: Columns ``site`` and ``layer``.

    Returns:
        The rows of each kind, in their order.
    """
    pairs = zip(table["site"], table["layer"], strict=True)
    kinds = np.array([str(site).replace(f".{layer:.0f}.", ".*.", 1) for site, layer in pairs])
    return {
        str(kind).removeprefix("layers.*."): table.select(kinds == kind)
        for kind in dict.fromkeys(kinds.tolist())
    }
