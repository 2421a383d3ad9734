"""Statistics that a few wild values do not move; NaN means "not known" everywhere."""

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

_NORMAL = 1.4826  # the standard deviation of a normal over its median absolute deviation
_PIECE = 2**21  # numbers that are worked on at once


def middle(values: NDArray[np.float64], axis: int | None = None) -> NDArray[np.float64]:
    """Return the median of the known values; NaN where none is known."""
    if values.size == 0:
        shape = () if axis is None else np.delete(np.array(values.shape), axis)
        return np.full(tuple(shape), np.nan)
    rows = values.reshape(-1) if axis is None else np.moveaxis(values, axis, -1)
    known = np.isfinite(rows)
    ordered = np.sort(np.where(known, rows, np.nan), axis=-1)  # NaN comes last
    # The two in the middle of those that are known, which are one and the same if their number is
    # odd. Halves are added, since a sum of two large numbers may overflow.
    count = np.asarray(known.sum(axis=-1))[..., None]
    low = np.take_along_axis(ordered, np.maximum(count - 1, 0) // 2, axis=-1)
    high = np.take_along_axis(ordered, count // 2, axis=-1)
    return np.asarray((low / 2 + high / 2)[..., 0])


def in_pieces(count: int, width: int) -> Iterator[slice]:
    """Cut rows into pieces of a bounded size: a log may be very long.

    Args:
        count: How many rows there are.
        width: How many numbers are needed for each.

    Yields:
        The pieces, one after another.
    """
    size = max(1, _PIECE // max(1, width))
    for start in range(0, count, size):
        yield slice(start, min(start + size, count))


def past(
    values: NDArray[np.float64], rows: NDArray[np.int64], *, window: int, least: int
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the median of what came before some values, and how far values lie from it.

    Args:
        values: ``[T, P]``, rows in their order.
        rows: ``[N]``, the rows in question.
        window: How far back to look, the row itself not counted.
        least: How many known values it takes.

    Returns:
        ``[N, P]`` medians, and ``[N, P]`` spreads: median absolute deviations, scaled so that they
        are the standard deviation of a normal. NaN where too few are known.
    """
    centre = np.full((len(rows), values.shape[1]), np.nan)
    spread = centre.copy()
    for piece in in_pieces(len(rows), window * values.shape[1]):
        places = rows[piece, None] - np.arange(window, 0, -1)
        before = np.where((places >= 0)[..., None], values[np.maximum(places, 0)], np.nan)
        enough = np.isfinite(before).sum(axis=1) >= least
        centre[piece] = np.where(enough, middle(before, axis=1), np.nan)
        # The deviation is that from the median: a spike in the past does not hide the next one.
        spread[piece] = middle(np.abs(before - centre[piece][:, None]), axis=1)
    return centre, _NORMAL * spread


def rises_above_past(
    values: NDArray[np.float64], least: float, *, window: int
) -> NDArray[np.int64]:
    """Find the rows where some value lies far above the least of its past: others did not jump.

    Args:
        values: ``[T, P]``, rows in their order.
        least: By how much.
        window: How far back to look.

    Returns:
        The rows.
    """
    lowest = np.full(values.shape, np.nan)
    for back in range(1, window + 1):
        lowest[back:] = np.fmin(lowest[back:], values[:-back])
    return np.flatnonzero((values - lowest > least).any(axis=1))


def slope(places: NDArray[np.float64], values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the slope of values over places as the median over all pairs (Theil 1950, Sen 1968).

    Args:
        places: ``[L]``.
        values: ``[T, L]``.

    Returns:
        ``[T]`` slopes; NaN where fewer than two values are known.
    """
    # All pairs: no single layer moves the median, where least squares would follow the first and
    # the last. Pairs at the same place have no slope.
    first, second = np.triu_indices(len(places), k=1)
    apart = places[second] - places[first]
    pairs = apart > 0
    first, second, apart = first[pairs], second[pairs], apart[pairs]
    slopes = np.full(len(values), np.nan)
    for piece in in_pieces(len(values), len(apart)):
        rise = values[piece][:, second] - values[piece][:, first]
        slopes[piece] = middle(rise / apart, axis=1)
    return slopes


def first_stretch(holds: NDArray[np.bool_], *, least: int = 3) -> tuple[int, int] | None:
    """Find the first stretch over which something holds without a break.

    Args:
        holds: ``[T]``.
        least: The shortest stretch that counts; shorter histories count as a whole.

    Returns:
        The first and the last place of the stretch; None if there is none.
    """
    starts, ends = stretches(holds)
    long = np.flatnonzero(ends - starts >= max(1, min(least, len(holds))))
    return (int(starts[long[0]]), int(ends[long[0]]) - 1) if len(long) else None


def stretches(holds: NDArray[np.bool_]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Find where something begins to hold, and where it holds no more."""
    edges = np.flatnonzero(np.diff(np.concatenate([[False], holds, [False]]).astype(np.int8)))
    return edges[::2], edges[1::2]
