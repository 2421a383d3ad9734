"""A text that is learned in no time, and rows of the tables that experiments return."""

import numpy as np

SENTENCES = "a rose is a rose is a rose; the sun is the sun. " * 40


def rows(table, **values):
    """Select the rows of a table that have given values."""
    kept = np.ones(table.num_rows, dtype=bool)
    for column, value in values.items():
        kept &= table[column] == value
    return table.select(kept)
