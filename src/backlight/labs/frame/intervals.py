"""Means over seeds with their t intervals, and p values of several questions at once."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float
from numpy.typing import NDArray
from scipy import stats

from backlight.tables import Column

_LEVEL = 0.95


@dataclass(frozen=True, slots=True, kw_only=True)
class Estimate:
    """A mean over seeds.

    Attributes:
        mean: NaN if there is no value.
        low: The lower end of its 95 % t interval; NaN for fewer than two values.
        high: The upper end.
        p: Of the mean being zero, by a t test of two sides; NaN for fewer than two values.
        count: How many values there are.
    """

    mean: float
    low: float
    high: float
    p: float
    count: int


def estimate(values: Float[np.ndarray, " seeds"]) -> Estimate:
    """Give a mean and how sure it is.

    For a paired comparison, the values are differences within seeds.

    Args:
        values: One for each seed; NaN for a seed that gave none, which is left out.

    Returns:
        The mean, its interval, and the p value of its being zero.
    """
    known = values[np.isfinite(values)]
    if len(known) < 2:
        mean = float(known[0]) if len(known) else np.nan
        return Estimate(mean=mean, low=np.nan, high=np.nan, p=np.nan, count=len(known))
    mean, error = float(known.mean()), float(stats.sem(known))
    if error == 0:
        p = 1.0 if mean == 0 else 0.0
        return Estimate(mean=mean, low=mean, high=mean, p=p, count=len(known))
    low, high = stats.t.interval(_LEVEL, len(known) - 1, loc=mean, scale=error)
    p = 2 * stats.t.sf(abs(mean) / error, len(known) - 1)
    return Estimate(mean=mean, low=float(low), high=float(high), p=float(p), count=len(known))


def estimate_columns(
    name: str, estimates: Sequence[Estimate], *, prefix: str | None = None
) -> dict[str, Column]:
    """Lay estimates out as columns of a table.

    Args:
        name: What the means are called.
        estimates: One for each row.
        prefix: What the ends of intervals begin with; None for ``{name}_``.

    Returns:
        The means, and the ends ``{prefix}low`` and ``{prefix}high``.
    """
    prefix = f"{name}_" if prefix is None else prefix
    return {
        name: np.array([each.mean for each in estimates]),
        f"{prefix}low": np.array([each.low for each in estimates]),
        f"{prefix}high": np.array([each.high for each in estimates]),
    }


def holm(p_values: Float[np.ndarray, " questions"]) -> NDArray[np.float64]:
    """Correct p values for how many questions were asked (Holm 1979).

    Args:
        p_values: Of each question; NaN for one that has no answer and does not count.

    Returns:
        Corrected p values: those below a level are significant together at that level.
    """
    corrected = np.full(len(p_values), np.nan)
    asked = np.flatnonzero(~np.isnan(p_values))
    order = asked[np.argsort(p_values[asked], kind="stable")]
    factors = np.arange(len(order), 0, -1)
    corrected[order] = np.minimum(np.maximum.accumulate(factors * p_values[order]), 1)
    return corrected
