"""Draws in which nothing comes twice: cities of one question, pairs among questions."""

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from backlight.errors import TaskError

Rows = NDArray[np.int64]
"""Rows of cities in their table: a line for each question, a column for each of its cities."""


def draw_tuples(pool: NDArray[np.int64], num: int, size: int, random: Generator) -> Rows:
    """Draw ``num`` times ``size`` different cities of a pool, as ``fill`` does."""
    return fill(np.empty((num, 0), np.int64), pool, size, random)


def fill(given: Rows, pool: NDArray[np.int64], size: int, random: Generator) -> Rows:
    """Add cities to each question until it has so many, none of them twice.

    Args:
        given: The cities that each question has already.
        pool: The cities to add from, each as likely as every other.
        size: How many cities a question is to have.
        random: Where chance comes from.

    Returns:
        The cities of each question: first those given.

    Raises:
        TaskError: If there are too few.
    """
    # All questions get their next city at once, without drawing again after a hit: of the f cities
    # that are free, a number below f is drawn and counted past those that are used. Going through
    # the used places in ascending order, each that is not beyond the number moves it on by one; so
    # the number ends on a free place, and every free place is reached by exactly one number.
    while given.shape[1] < size:
        place = np.full(int(max(pool.max(initial=0), given.max(initial=0))) + 1, len(pool))
        place[pool] = np.arange(len(pool))
        used = np.sort(place[given], axis=1)  # cities that are not of the pool come last
        free = len(pool) - (used < len(pool)).sum(axis=1)
        if (free < 1).any():
            raise TaskError(too_few(size, len(pool), "there are"))
        drawn = random.integers(0, free)
        for column in used.T:
            drawn += drawn >= column
        given = np.column_stack([given, pool[drawn]])
    return given


def all_pairs(num_cities: int, num: int, random: Generator) -> Rows:
    """Draw pairs of different cities, none of them twice, each in either order.

    Args:
        num_cities: How many cities there are.
        num: How many pairs.
        random: Where chance comes from.

    Returns:
        Rows of cities, ``num`` by 2.

    Raises:
        TaskError: If there are fewer pairs.
    """
    # The pairs (i, j) with i < j are numbered row by row: row i begins at starts[i] and has
    # num_cities - 1 - i of them. Different numbers are different pairs, so none comes twice, and
    # no list of all 20 million pairs is needed.
    starts = np.cumsum([0, *range(num_cities - 1, 0, -1)])
    chosen = _distinct(int(starts[-1]), num, random)
    first = np.searchsorted(starts, chosen, side="right") - 1
    pairs = np.stack([first, first + 1 + chosen - starts[first]], axis=1)
    return random.permuted(pairs, axis=1)


def pairs_among(allowed: NDArray[np.bool_], num: int, random: Generator) -> Rows:
    """Draw pairs of different cities that may come together, none of them twice.

    Args:
        allowed: A symmetric matrix that says which pairs may come.
        num: How many pairs.
        random: Where chance comes from.

    Returns:
        Rows of cities, ``num`` by 2.

    Raises:
        TaskError: If there are fewer pairs.
    """
    # As in all_pairs, but a row of the numbering has only the pairs that are allowed; which city a
    # number within its row means is looked up once for each row that was drawn.
    upper = np.triu(allowed, k=1)
    ends = np.cumsum([0, *upper.sum(axis=1)])
    chosen = _distinct(int(ends[-1]), num, random)
    first = np.searchsorted(ends, chosen, side="right") - 1
    rank, second = chosen - ends[first], np.empty_like(first)
    order = np.argsort(first, kind="stable")
    rows, starts = np.unique(first[order], return_index=True)
    for row, ours in zip(rows.tolist(), np.split(order, starts[1:]), strict=False):
        second[ours] = np.flatnonzero(upper[row])[rank[ours]]
    return random.permuted(np.stack([first, second], axis=1), axis=1)


def too_few(size: int, num: int, there_are: str) -> str:
    """Return the message that a question needs more cities than there are."""
    return f"A question needs {size} different cities, but {there_are} only {num}."


def _distinct(total: int, num: int, random: Generator) -> NDArray[np.int64]:
    if num > total:
        raise TaskError(
            f"{num} different pairs of cities were asked for, but only {total} exist: ask for "
            "fewer questions, or allow more cities."
        )
    return random.choice(total, size=num, replace=False) if num else np.empty(0, np.int64)
