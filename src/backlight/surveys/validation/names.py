"""What validations call things: sizes of changes, and verdicts."""

from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

SIZES = (0.0, 0.01, 0.03, 0.1, 0.3, float("inf"))
"""The edges of the sizes of changes, relative to the residual stream."""

UNKNOWN_SIZE = "not known"


def size_names() -> list[str]:
    """Name the sizes: ``< 0.01``, ``0.01 - 0.03``, ..., ``> 0.3``."""
    inner = SIZES[1:-1]
    between = [f"{low:g} - {high:g}" for low, high in pairwise(inner)]
    return [f"< {inner[0]:g}", *between, f"> {inner[-1]:g}"]


def named_sizes(sizes: NDArray[np.float64]) -> NDArray[Any]:
    """Name each of some sizes.

    Args:
        sizes: Of changes, relative to the residual stream; NaN where that is not known.

    Returns:
        One of ``size_names``, or ``UNKNOWN_SIZE``, for each.

    Examples:
        >>> named_sizes(np.array([0.02, np.nan, 0.5])).tolist()
        ['0.01 - 0.03', 'not known', '> 0.3']
    """
    places = np.digitize(sizes, SIZES[1:-1])  # NaN is behind the last
    return np.where(np.isnan(sizes), UNKNOWN_SIZE, np.array(size_names())[places])


NO_LAYER = -1
"""The layer of sites that belong to none."""

TRUSTED, CARE, NOT_TRUSTED, UNTOLD = "trust", "with care", "not trustworthy", "too few to tell"
"""Verdicts."""

LEAST_SIGNS = 0.6
"""If the lower end of the interval of sign agreement is below this, numbers are not trustworthy."""

_SURE_SIGNS, _SURE_RANKS = 0.85, 0.8


def verdict(sign_low: float, spearman_low: float, num_units: int) -> str:
    """Say whether the numbers of a kind of units can be trusted.

    Args:
        sign_low: The lower end of the interval of sign agreement.
        spearman_low: The lower end of the interval of the rank correlation.
        num_units: How many units were tested.

    Returns:
        ``trust``: signs agree in 85 % and ranks with 0.8 at least, at the lower ends; ``with care``
        otherwise; ``not trustworthy`` if signs may agree in less than 60 %.
    """
    if sign_low != sign_low or num_units < LEAST_UNITS:
        return UNTOLD
    if sign_low < LEAST_SIGNS:
        return NOT_TRUSTED
    return TRUSTED if sign_low >= _SURE_SIGNS and spearman_low >= _SURE_RANKS else CARE


LEAST_UNITS = 8
"""Of fewer units no verdict is given."""

CHANCE_AREA = 0.5
"""The area under the curve of an index that knows nothing."""
