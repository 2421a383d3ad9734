"""Means over seeds with their t intervals, and p values of several questions at once."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float
from numpy.typing import NDArray
from scipy import stats

_LEVEL = 0.95


@dataclass(frozen=True, slots=True, kw_only=True)
class Estimate:
    """A mean over seeds.

    Attributes:
        mean: NaN if there is no value.
        low: The lower end of its 95 % t interval; NaN for fewer than two values.
        high: The upper end.
        p: The p value of a two-sided t test that the mean is zero; NaN for fewer than two values.
        count: How many values there are.
    """

    mean: float
    low: float
    high: float
    p: float
    count: int


def estimate(values: Float[np.ndarray, " seeds"]) -> Estimate:
    """Compute a mean and how sure it is.

    For a paired comparison, the values are differences within seeds.

    Args:
        values: One for each seed; a seed whose value is not finite is left out.

    Returns:
        The mean, its interval, and the p value of its being zero.
    """
    known = values[np.isfinite(values)]
    mean = float(known.mean()) if len(known) else np.nan
    if len(known) < 2:
        return Estimate(mean=mean, low=np.nan, high=np.nan, p=np.nan, count=len(known))
    error = float(stats.sem(known))
    if error == 0:  # all seeds agree: scipy would divide by zero
        p = 1.0 if mean == 0 else 0.0
        return Estimate(mean=mean, low=mean, high=mean, p=p, count=len(known))
    low, high = stats.t.interval(_LEVEL, len(known) - 1, loc=mean, scale=error)
    p = 2 * stats.t.sf(abs(mean) / error, len(known) - 1)
    return Estimate(mean=mean, low=float(low), high=float(high), p=float(p), count=len(known))


def over_seeds(
    name: str,
    values: Float[np.ndarray, "seeds ..."],
    *,
    prefix: str | None = None,
    unlog: bool = False,
) -> dict[str, Any]:
    """Estimate a quantity at each point, as columns of a table.

    Args:
        name: The column of means.
        values: What each seed measured at each point (or its logarithm).
        prefix: What the columns of the intervals' ends begin with; None for ``{name}_``.
        unlog: Return exponentials of the estimates: geometric means of what the logarithms are of,
            with intervals that need not be symmetric but cannot reach below zero.

    Returns:
        The columns ``{name}``, ``{prefix}low`` and ``{prefix}high``, in the shape of the points.
    """
    found = [estimate(column) for column in values.reshape(len(values), -1).T]
    prefix = f"{name}_" if prefix is None else prefix
    columns = {
        name: [each.mean for each in found],
        f"{prefix}low": [each.low for each in found],
        f"{prefix}high": [each.high for each in found],
    }
    shaped = {key: np.array(column).reshape(values.shape[1:]) for key, column in columns.items()}
    return {key: np.exp(column) for key, column in shaped.items()} if unlog else shaped


def holm(p_values: Float[np.ndarray, " questions"]) -> NDArray[np.float64]:
    """Correct p values for how many questions were asked (Holm 1979).

    Args:
        p_values: One for each question; a NaN is a question without an answer, which does not
            count.

    Returns:
        Corrected p values: those below a level are significant together at that level.
    """
    corrected = np.full(len(p_values), np.nan)
    asked = np.flatnonzero(~np.isnan(p_values))
    # The smallest p value is multiplied by the number of questions, the next by one less, and
    # so on; the running maximum keeps the order of the p values.
    order = asked[np.argsort(p_values[asked], kind="stable")]
    factors = np.arange(len(order), 0, -1)
    corrected[order] = np.minimum(np.maximum.accumulate(factors * p_values[order]), 1)
    return corrected
