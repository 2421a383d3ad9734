"""Statistics that a few wild values do not move; NaN means "not known" everywhere."""

import numpy as np
from numpy.typing import NDArray

__all__ = ["first_stretch", "middle", "slope", "surprise", "trailing_middle"]

_NORMAL = 1.4826  # the standard deviation of a normal over its median absolute deviation


def middle(values: NDArray[np.float64], axis: int | None = None) -> NDArray[np.float64]:
    """Give the median of the known values; NaN where none is known."""
    if values.size == 0:
        shape = () if axis is None else np.delete(np.array(values.shape), axis)
        return np.full(tuple(shape), np.nan)
    known = np.ma.masked_invalid(values)
    return np.asarray(np.ma.filled(np.ma.median(known, axis=axis), np.nan), dtype=np.float64)


def trailing_middle(
    values: NDArray[np.float64], *, window: int, least: int
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Give the median of what came before each value, and how far values lie from it.

    Args:
        values: ``[T]``, in their order.
        window: How far back to look, the value itself not counted.
        least: How many known values it takes.

    Returns:
        ``[T]`` medians, and ``[T]`` spreads: median absolute deviations, scaled so that they are
        the standard deviation of a normal. NaN where too few are known.
    """
    padded = np.concatenate([np.full(window, np.nan), values])[: window + len(values) - 1]
    if not len(values):
        return np.empty(0), np.empty(0)
    past = np.lib.stride_tricks.sliding_window_view(padded, window)
    enough = np.isfinite(past).sum(axis=1) >= least
    centre = np.where(enough, middle(past, axis=1), np.nan)
    spread = np.where(enough, middle(np.abs(past - centre[:, None]), axis=1), np.nan)
    return centre, _NORMAL * spread


def surprise(
    values: NDArray[np.float64], *, window: int, least: int, floor: float
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Compare each value with its own past.

    Args:
        values: ``[T]``, in their order.
        window: How far back to look.
        least: How many known values of the past it takes.
        floor: The least spread that a past is thought to have.

    Returns:
        ``[T]`` differences from the past's median, and ``[T]`` the same in spreads.
    """
    centre, spread = trailing_middle(values, window=window, least=least)
    jump = values - centre
    return jump, jump / np.maximum(spread, floor)


def slope(places: NDArray[np.float64], values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Give the slope of values over places as the median over all pairs (Theil 1950, Sen 1968).

    Args:
        places: ``[L]``.
        values: ``[T, L]``.

    Returns:
        ``[T]`` slopes; NaN where fewer than two values are known.
    """
    first, second = np.triu_indices(len(places), k=1)
    apart = places[second] - places[first]
    pairs = apart > 0
    rise = values[:, second[pairs]] - values[:, first[pairs]]
    return middle(rise / apart[pairs], axis=1)


def first_stretch(holds: NDArray[np.bool_], *, least: int = 3) -> tuple[int, int] | None:
    """Find the first stretch over which something holds without a break.

    Args:
        holds: ``[T]``.
        least: The shortest stretch that counts; shorter histories count as a whole.

    Returns:
        The first and the last place of the stretch; None if there is none.
    """
    edges = np.flatnonzero(np.diff(np.concatenate([[False], holds, [False]]).astype(np.int8)))
    least = max(1, min(least, len(holds)))
    for start, end in zip(edges[::2].tolist(), edges[1::2].tolist(), strict=True):
        if end - start >= least:
            return start, end - 1
    return None
