"""One number for each dimension: aggregated, raised to a power, normalised, in this order."""

from typing import Literal

import numpy as np
from numpy.typing import NDArray

from backlight.stats.moments import MomentResult

__all__ = ["Mode", "Norm", "aggregate", "normalize", "signed_power"]

Mode = Literal["mean", "mean_abs", "rms"]
Norm = Literal["none", "sum_abs", "sum"]
Vector = NDArray[np.float64]


def aggregate(
    moments: MomentResult, mode: Mode, *, power: float | None = None, norm: Norm = "none"
) -> Vector:
    """Give each dimension's aggregate over the corpus.

    Args:
        moments: The statistics of a site.
        mode: Which of them.
        power: Raise to this power, keeping the sign; None leaves them as they are.
        norm: How to scale them afterwards.

    Returns:
        One number for each dimension.
    """
    values = {"mean": moments.mean, "mean_abs": moments.mean_abs, "rms": moments.rms}[mode]
    return normalize(values if power is None else signed_power(values, power), norm)


def signed_power(values: Vector, power: float) -> Vector:
    """Raise sizes to a power and keep signs: ``sign(v) |v|^p``."""
    return np.sign(values) * np.abs(values) ** power


def normalize(values: Vector, norm: Norm) -> Vector:
    """Scale d numbers so that they are 1 on average.

    Args:
        values: The numbers.
        norm: ``sum_abs``: ``v d / sum |v|``, so that absolute values average 1. ``sum``:
            ``v d / sum v``, so that the signed values do. ``none``: as they are.

    Returns:
        The scaled numbers; unchanged if the sum is exactly 0, where there is no such scale.
    """
    if norm == "none":
        return values
    total = np.abs(values).sum() if norm == "sum_abs" else values.sum()
    return values / total * len(values) if total != 0 else values
