"""Saying of which units the gradient's prediction of an ablation is likely wrong."""

from backlight.report.wrong import COLUMN, MEANING
from backlight.surveys.driver.words.printing import Column
from backlight.surveys.driver.words.sentences import count
from backlight.tables import Table

EXPLAINED = f"Likely wrong (~): {MEANING}"


def mark(table: Table, row: int) -> str:
    """Write ``~`` for a unit whose prediction is likely wrong; nothing where it is not known."""
    return "~" if COLUMN in table and table[COLUMN][row] == 1 else ""


def mark_columns(table: Table) -> list[Column]:
    """Make the column of marks, if any of a table's rows is likely wrong."""
    any_wrong = "likely_wrong" in table and bool((table["likely_wrong"] == 1).any())
    return [Column("likely wrong", cell=mark)] if any_wrong else []


def warning_sentence(table: Table, units: str) -> str:
    """Say how many of the largest units have a prediction that is likely wrong.

    >>> import numpy as np
    >>> table = Table(name="dimensions", columns={"likely_wrong": np.array([1.0, 0.0, 1.0])})
    >>> warning_sentence(table, "dimension")[:51]
    'Of the 3 dimensions that are largest, 2 are likely '

    Args:
        table: The largest units.
        units: What one of them is called.

    Returns:
        The sentence; empty if none is likely wrong, or nothing is known.
    """
    if "likely_wrong" not in table:
        return ""
    wrong = int((table["likely_wrong"] == 1).sum())
    if not wrong:
        return ""
    which, they = ("is", "it") if wrong == 1 else ("are", "them")
    return (
        f"Of the {count(table.num_rows, units)} that are largest, {wrong} {which} likely wrong as "
        f"predictions of setting {they} to zero."
    )
