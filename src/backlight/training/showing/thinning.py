"""Long courses made short enough for a page, without losing what stands out."""

from collections.abc import Collection

import numpy as np
from numpy.typing import NDArray

from backlight.training.doctor.findings import Diagnosis

_LARGEST = 1e38  # what four bytes of a page can hold
_Places = NDArray[np.int64]


def drawable(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Take numbers that no page can hold for infinite, or for zero."""
    sizes = np.abs(values)
    limited = np.where(sizes > _LARGEST, np.inf * np.sign(values), values)
    return np.where(sizes < 1 / _LARGEST, 0.0, limited)


def extremes(values: NDArray[np.float64], *, most: int) -> _Places:
    """Choose places of a course so that its smallest and largest values are all among them.

    Args:
        values: The course; NaN where there is no number.
        most: How many places there may be.

    Returns:
        All places if they are few enough; else the ends, and where each of so many equal stretches
        is smallest and where it is largest.
    """
    count = len(values)
    if count <= most:
        return np.arange(count)
    edges = np.linspace(0, count, most // 2, dtype=np.int64)
    low, high = (np.where(np.isnan(values), end, values) for end in (np.inf, -np.inf))
    chosen = [0, count - 1]
    for start, end in zip(edges[:-1].tolist(), edges[1:].tolist(), strict=True):
        chosen += [start + int(low[start:end].argmin()), start + int(high[start:end].argmax())]
    return np.unique(chosen)


def spread(count: int, *, most: int, kept: Collection[int] = ()) -> _Places:
    """Choose places at even distances.

    Args:
        count: How many places there are.
        most: How many may be chosen, but for those that are kept.
        kept: Places that are chosen in any case.

    Returns:
        The places, rising.
    """
    if count <= most:
        return np.arange(count)
    even = np.linspace(0, count - 1, most).round().astype(np.int64)
    return np.union1d(even, np.array(sorted(kept), dtype=np.int64))


def marks(diagnosis: Diagnosis, steps: NDArray[np.int64]) -> dict[int, str]:
    """Name the findings that begin at each step.

    Args:
        diagnosis: The findings, numbered from 1.
        steps: The steps that are shown; findings that begin outside of them are left out.

    Returns:
        Such as ``finding 1, 3``, by the step.
    """
    numbers: dict[int, list[str]] = {}
    for number, finding in enumerate(diagnosis.findings, start=1):
        if len(steps) and steps.min() <= finding.since_step <= steps.max():
            numbers.setdefault(finding.since_step, []).append(str(number))
    return {step: f"finding {', '.join(here)}" for step, here in sorted(numbers.items())}
