"""Units of which the gradient's prediction of an ablation is likely wrong, and how they are marked.

Runs that did not measure it have no such column; nothing is marked then.
"""

import numpy as np
from numpy.typing import NDArray

from backlight.tables import Table

COLUMN = "likely_wrong"
"""1 where a prediction is likely wrong, 0 where not, NaN where it is not known."""

MEANING = (
    "setting it to zero changes the residual stream so much, beside what the gradient predicts of "
    "it, that the prediction cannot be believed."
)
"""What it is that is likely wrong, behind the mark and a colon."""

WARNING_COLUMNS = ("relative_size", "predicted_change", "warning_index", COLUMN)
"""All that is measured of setting a unit to zero, in the order of the tables."""

CAPTION = f"\u00d7, likely wrong: {MEANING}"
"""The sentence below a figure with crosses."""

SECOND_COLOUR = f"In the second colour, likely wrong: {MEANING}"
"""The sentence above points on a page."""

COLUMNS_TOLD = (
    "Relative size: of the change of the residual stream, beside the stream, when it is set to "
    "zero; predicted change: of the loss then, as the gradient says; warning index: the square of "
    f"the first over the size of the second; likely wrong (1): {MEANING}"
)
"""What a page says of the columns."""

OF_WHOLE_SITES = f"Of the whole site: {COLUMNS_TOLD[0].lower()}{COLUMNS_TOLD[1:]}"
"""The same of a table of sites."""


def has_warnings(table: Table) -> bool:
    """Say whether anything of it was measured."""
    return all(name in table for name in WARNING_COLUMNS) and bool(
        np.isfinite(table["relative_size"]).any()
    )


def is_wrong(table: Table) -> NDArray[np.bool_]:
    """Say of each row whether its prediction is likely wrong; of none where it is not known."""
    return table[COLUMN] == 1 if COLUMN in table else np.zeros(table.num_rows, dtype=np.bool_)
