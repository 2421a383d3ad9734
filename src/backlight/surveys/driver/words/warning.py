"""Saying of which units the gradient's prediction of an ablation is likely wrong."""

from backlight.report.wrong import MEANING, is_wrong
from backlight.surveys.driver.words.printing import Column, Sign
from backlight.tables import Table

MARK = "~"
EXPLAINED = f"{MARK}, likely wrong: {MEANING}"
"""The sentence below a table with marks."""

_SIGN = Sign(MARK, f"{MARK}: likely wrong as a prediction of setting it to zero.")
"""The same where there are few lines."""


def mark(table: Table, row: int) -> str:
    """Write the mark of a unit whose prediction is likely wrong; nothing where it is not known."""
    return MARK if is_wrong(table)[row] else ""


def mark_columns(table: Table) -> list[Column]:
    """Make the column of marks, if any of a table's rows is likely wrong."""
    return [Column(MARK, cell=mark, sign=_SIGN)] if is_wrong(table).any() else []


def warning_sentence(table: Table, units: str) -> str:
    """Say how many of the largest units have a prediction that is likely wrong.

    >>> import numpy as np
    >>> table = Table(name="dimensions", columns={"likely_wrong": np.array([1.0, 0.0, 1.0])})
    >>> warning_sentence(table, "dimension")[:50]
    'Of the 3 largest dimensions, 2 are likely wrong as'

    Args:
        table: The largest units.
        units: What one of them is called.

    Returns:
        The sentence; empty if none is likely wrong, or nothing is known.
    """
    wrong = int(is_wrong(table).sum())
    if not wrong:
        return ""
    which = "is likely wrong as a prediction of setting it to zero."
    if wrong > 1:
        which = "are likely wrong as predictions of setting them to zero."
    return f"Of the {table.num_rows} largest {units}s, {wrong} {which}"
