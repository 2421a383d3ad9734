"""Gradients that are exactly zero: dead places, dead units, and underflow."""

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from backlight.training.symptoms.catalogue import finding
from backlight.training.symptoms.findings import Finding
from backlight.training.symptoms.readings import Readings, place_of
from backlight.training.symptoms.robust import first_stretch, middle

__all__ = ["find_zeros"]

_DEAD_UNITS = 0.5  # share of zeros in one place ...
_LIVELY = 0.1  # ... where siblings have fewer than this
_LOST = 0.1  # average share of zeros, from which small numbers are being lost ...
_SOME = 0.01  # ... if matrices have more than this share ...
_EVERYWHERE = 0.6  # ... in this share of all matrices


def find_zeros(readings: Readings) -> Iterator[Finding]:
    """Find matrices without any gradient, with many zeros, and zeros everywhere.

    A matrix of zeros stops the gradient in its neighbours for one step (branches that are
    initialised with zero), so what is zero in the first recorded steps only is not told. Embeddings
    are left out (tokens that do not occur have no gradient), and so are vectors: the gradient of a
    key's bias is zero whatever the model is, since a softmax does not see what is added to all its
    inputs.

    Args:
        readings: What was recorded.

    Yields:
        A finding for each block.
    """
    columns = list(readings.matrices)
    if not len(readings.steps) or not columns:
        return
    zero = readings.history.present & (readings.read("norm") == 0)
    stretches = {
        column: stretch
        for column in columns
        if (stretch := first_stretch(zero[:, column])) and not _starts_at_zero(readings, stretch)
    }
    yield from _dead(readings, stretches)
    share = readings.read("zero")
    lost = _underflow(share[:, columns])
    stretch = first_stretch(lost)
    if stretch is not None:
        largest = middle(share[:, columns][stretch[0] : stretch[1] + 1])
        yield finding(
            "underflow",
            evidence="Entries that are exactly zero in nearly all matrices: "
            f"{float(np.nanmean(share[stretch[0]][columns])):.0%} on average, "
            f"{float(np.nanmax(share[stretch[0]][columns])):.0%} at most (median {largest:.1%}).",
            since_step=int(readings.steps[stretch[0]]),
            until_step=readings.until(_last(lost)),
        )
        return
    yield from _dead_units(readings, share, set(stretches))


def _dead(readings: Readings, stretches: dict[int, tuple[int, int]]) -> Iterator[Finding]:
    starts = sorted({start for start, _ in stretches.values()})
    for start in starts:
        columns = [column for column, stretch in stretches.items() if stretch[0] == start]
        for group in readings.by_block(columns):
            end = max(stretches[column][1] for column in group)
            names = ", ".join(readings.history.parameters[column].name for column in group[:3])
            more = f" and {len(group) - 3} more" if len(group) > 3 else ""
            yield finding(
                "zero_gradient",
                evidence=f"All entries of the gradient of {names}{more} were exactly zero at "
                f"{end - start + 1} recorded steps in a row.",
                since_step=int(readings.steps[start]),
                until_step=readings.until(end),
                place=place_of(readings.history, group),
            )


def _dead_units(
    readings: Readings, share: NDArray[np.float64], known: set[int]
) -> Iterator[Finding]:
    columns: dict[int, int] = {}
    for family in readings.families:
        for column in family:
            others = [each for each in family if each != column]
            lively = middle(share[:, others], axis=1) < _LIVELY
            many = (share[:, column] >= _DEAD_UNITS) & (share[:, column] < 1) & lively
            stretch = first_stretch(many, least=5)
            if stretch is not None and column not in known:
                columns[column] = stretch[0]
    for group in readings.by_block(list(columns)):
        first = min(group, key=lambda column: columns[column])
        start, name = columns[first], readings.history.parameters[first].name
        yield finding(
            "dead_units",
            evidence=f"{share[start, first]:.0%} of the gradient of {name} is exactly zero, and "
            f"less than {_LIVELY:.0%} in most other blocks.",
            since_step=int(readings.steps[start]),
            place=place_of(readings.history, group),
        )


def _underflow(share: NDArray[np.float64]) -> NDArray[np.bool_]:
    known = np.isfinite(share)
    count = np.maximum(known.sum(axis=1), 1)
    filled = np.where(known, share, 0.0)
    partly = known & (filled > _SOME) & (filled < 1)
    return (filled.sum(axis=1) / count >= _LOST) & (partly.sum(axis=1) / count >= _EVERYWHERE)


def _starts_at_zero(readings: Readings, stretch: tuple[int, int]) -> bool:
    """Tell whether zeros end with the first steps: neighbours that start at zero do that."""
    return stretch[0] == 0 and int(readings.steps[stretch[1]]) <= 3 and len(readings.steps) > 3


def _last(holds: NDArray[np.bool_]) -> int:
    return int(np.flatnonzero(holds)[-1])
