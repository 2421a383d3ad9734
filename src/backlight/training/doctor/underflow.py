"""Small gradients that a number format rounds to zero: zeros alone do not show it."""

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from backlight.training.doctor.catalogue import finding
from backlight.training.doctor.findings import Finding
from backlight.training.doctor.readings import Readings
from backlight.training.doctor.robust import first_stretch, middle

_LOST = 0.1  # average share of zeros, from which small numbers are being lost ...
_SOME = 0.01  # ... if matrices have more than this share ...
_EVERYWHERE = 0.6  # ... in this share of all matrices ...
_ALIKE = 1.1  # ... and the smallest other entries of as many are the same, up to this factor
_ENOUGH = 3  # matrices, whose smallest entries are not the same by chance
_HALF = 2.0**-24  # the smallest number of float16
_BELOW_TYPICAL = 1e-5  # of the usual entry: a floor that is lower takes hardly anything away


def find_underflow(readings: Readings) -> Iterator[Finding]:
    """Find zeros that were small numbers once.

    Units that are off (ReLU, sparse codes, experts) leave zeros too, and other entries of any size.
    What a format with little range has rounded has a floor: the smallest entries besides zero are
    the same number in nearly all matrices, and not far below the usual entry. Float32 and bfloat16
    have their floor 30 orders of magnitude lower, so they cannot be meant.

    Args:
        readings: What was recorded; logs without the smallest entries are not judged.

    Yields:
        A finding about the whole model.
    """
    columns = list(readings.matrices)
    share, smallest = readings.read("zero")[:, columns], readings.read("smallest")[:, columns]
    rows = np.flatnonzero(_many_zeros(share))
    floors = np.full(len(share), np.nan)
    for row in rows.tolist():
        floors[row] = _floor(readings, row, share[row], smallest[row])
    lost = np.isfinite(floors)
    stretch = first_stretch(lost)
    if stretch is None:
        return
    start, end = stretch
    largest = middle(share[start : end + 1])
    yield finding(
        "underflow",
        evidence="Entries that are exactly zero in nearly all matrices: "
        f"{float(np.nanmean(share[start])):.0%} on average, "
        f"{float(np.nanmax(share[start])):.0%} at most (median {largest:.1%}); the smallest others "
        f"are the same number in most of them, {floors[start]:.2g}.",
        since_step=int(readings.steps[start]),
        until_step=readings.until(int(np.flatnonzero(lost)[-1])),
    )


def _many_zeros(share: NDArray[np.float64]) -> NDArray[np.bool_]:
    known = np.isfinite(share)
    count = np.maximum(known.sum(axis=1), 1)
    filled = np.where(known, share, 0.0)
    some = known & (filled > _SOME)
    return (filled.sum(axis=1) / count >= _LOST) & (some.sum(axis=1) / count >= _EVERYWHERE)


def _floor(
    readings: Readings, row: int, share: NDArray[np.float64], smallest: NDArray[np.float64]
) -> float:
    """Return the number below which everything is zero; NaN if there is no such number."""
    known = smallest[np.isfinite(smallest) & (share > _SOME)]
    if not len(known):
        return float("nan")
    floor = float(known.min())
    alike = int((known <= _ALIKE * floor).sum())
    scale = readings.history.scale[row] if len(readings.history.scale) else np.nan
    of_half = bool(np.isclose(floor * (scale if scale > 0 else 1.0), _HALF, rtol=1e-3, atol=0))
    # Where nearly all matrices have lost everything, only few are left to show the floor.
    if alike < _EVERYWHERE * len(known) or not (of_half or alike >= _ENOUGH):
        return float("nan")
    if not of_half and len(known) < _EVERYWHERE * np.isfinite(share).sum():
        return float("nan")
    return floor if floor >= _BELOW_TYPICAL * _usual_entry(readings, row) else float("nan")


def _usual_entry(readings: Readings, row: int) -> float:
    """Return the root mean square of the gradient's entries, the median over matrices."""
    columns = list(readings.matrices)
    sizes = np.array([max(1, readings.history.parameters[column].numel) for column in columns])
    return float(middle(readings.read("norm")[row, columns] / np.sqrt(sizes)))
