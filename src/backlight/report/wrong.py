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

CAPTION = f"\u00d7, likely wrong: {MEANING}"
"""The sentence below a figure with crosses."""


def is_wrong(table: Table) -> NDArray[np.bool_]:
    """Say of each row whether its prediction is likely wrong; of none where it is not known."""
    return table[COLUMN] == 1 if COLUMN in table else np.zeros(table.num_rows, dtype=np.bool_)
