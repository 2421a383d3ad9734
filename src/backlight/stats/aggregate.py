"""One number for each dimension: aggregated, raised to a power, normalised, in this order."""

from typing import Literal

import numpy as np
from numpy.typing import NDArray

Mode = Literal["mean", "mean_abs", "rms"]
Norm = Literal["none", "sum_abs", "sum"]
Vector = NDArray[np.float64]

_TOP_PERCENT = 0.01


def aggregate(values: Vector, *, power: float | None = None, norm: Norm = "none") -> Vector:
    """Raise each dimension's statistic to a power, then normalise.

    Args:
        values: The statistic; NaN where it is not known.
        power: Raise to this power, keeping the sign; None leaves them as they are.
        norm: How to scale them afterwards.

    Returns:
        One number for each dimension.
    """
    return normalize(values if power is None else signed_power(values, power), norm)


def signed_power(values: Vector, power: float) -> Vector:
    """Raise sizes to a power and keep signs: ``sign(v) |v|^p``."""
    return np.sign(values) * np.abs(values) ** power


def normalize(values: Vector, norm: Norm) -> Vector:
    """Scale d numbers so that they are 1 on average.

    Args:
        values: The numbers; those that are NaN do not count.
        norm: ``sum_abs``: ``v d / sum |v|``, so that absolute values average 1. ``sum``:
            ``v d / sum v``, so that the signed values do. ``none``: as they are.

    Returns:
        The scaled numbers; unchanged if the sum is exactly 0, where there is no such scale.
    """
    if norm == "none":
        return values
    total = np.nansum(np.abs(values) if norm == "sum_abs" else values)
    return values / total * np.count_nonzero(~np.isnan(values)) if total != 0 else values


def participation_ratio(energies: Vector) -> float:
    """Count effective dimensions: ``(sum e)^2 / sum e^2``, 1 if one has all, d if all are equal."""
    squares = float((energies**2).sum())
    return float(energies.sum()) ** 2 / squares if squares > 0 else float("nan")


def top_share(sizes: Vector) -> float:
    """Find the share of a sum of sizes that its largest 1 % (rounded up) have."""
    total = float(sizes.sum())
    largest = np.sort(sizes)[-int(np.ceil(len(sizes) * _TOP_PERCENT)) :]
    return float(largest.sum()) / total if total > 0 else float("nan")
