"""Gradients that are exactly zero: dead places, dead units, and underflow."""

from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from backlight.foreign.text import brief
from backlight.training.doctor.findings import Finding, finding
from backlight.training.doctor.readings import Readings, place_of
from backlight.training.doctor.robust import first_stretch, middle
from backlight.training.doctor.usage import LEAST_REST, Rest, rests

_DEAD_UNITS = 0.5  # share of zeros in one place ...
_LIVELY = 0.1  # ... where siblings have fewer than this
_LOST = 0.1  # average share of zeros, from which small numbers are being lost ...
_SOME = 0.01  # ... if matrices have more than this share ...
_EVERYWHERE = 0.6  # ... in this share of all matrices ...
_ALIKE = 1.1  # ... and the smallest other entries of as many are the same, up to this factor
_ENOUGH = 3  # matrices, whose smallest entries are not the same by chance
_HALF = 2.0**-24  # the smallest number of float16
_BELOW_TYPICAL = 1e-5  # of the usual entry: a floor that is lower takes hardly anything away


def find_zeros(readings: Readings) -> Iterator[Finding]:
    """Find matrices without any gradient, with many zeros, and zeros everywhere.

    Embeddings are left out (tokens that do not occur have no gradient), and so are vectors: the
    gradient of a key's bias is zero whatever the model is, since a softmax does not see what is
    added to all its inputs.

    Args:
        readings: What was recorded.

    Yields:
        A finding for each block.
    """
    columns = readings.matrices
    if not len(readings.steps) or not columns:
        return
    found = list(_rests(readings))
    yield from _dead(readings, found)
    underflow = list(_underflow(readings))
    yield from underflow
    if not underflow:
        yield from _dead_units(readings, {rest.column for rest in found})


def _rests(readings: Readings) -> Iterator[Rest]:
    """Find where the gradient of a matrix is zero for longer than chance allows."""
    present = readings.history.present
    zero = present & (readings.read("norm") == 0) & ~readings.nothing_left[:, None]
    if len(zero) >= LEAST_REST:
        yield from rests(readings, zero, present & ~zero, readings.matrices)
    # A short record may be that of a model with weights of zero, which stop others.
    elif not (readings.read("weight_norm")[:, list(readings.matrices)] == 0).any():
        for column in readings.matrices:
            if zero[:, column].all():
                yield Rest(column=column, start=0, end=len(zero) - 1)


def _dead(readings: Readings, found: Sequence[Rest]) -> Iterator[Finding]:
    for start in sorted({rest.start for rest in found}):
        ends = {rest.column: rest.end for rest in found if rest.start == start}
        for group in readings.by_block(list(ends)):
            end = max(ends[column] for column in group)
            names = ", ".join(
                brief(readings.history.parameters[column].name) for column in group[:3]
            )
            more = f" and {len(group) - 3} more" if len(group) > 3 else ""
            rows = end - start + 1
            told = "at the one recorded step" if rows == 1 else f"at {rows} recorded steps in a row"
            passing = readings.until(end) is not None or len(readings.steps) < LEAST_REST
            yield finding(
                "zero_gradient",
                evidence=f"All entries of the gradient of {names}{more} were exactly zero {told}.",
                since_step=int(readings.steps[start]),
                until_step=readings.until(end),
                place=place_of(readings.history, group),
                severity="warning" if passing else None,
            )


def _dead_units(readings: Readings, known: set[int]) -> Iterator[Finding]:
    """Find matrices with many zeros among siblings with few.

    Units that are off have no gradient of their bias either. Where biases have one, the zeros come
    from the input: features that do not occur.

    Args:
        readings: What was recorded.
        known: Columns that are told as dead.

    Yields:
        A finding for each block.
    """
    share, columns = readings.read("zero"), dict[int, int]()
    for family in readings.families:
        for column in family:
            others = [each for each in family if each != column]
            lively = middle(share[:, others], axis=1) < _LIVELY
            many = (share[:, column] >= _DEAD_UNITS) & (share[:, column] < 1) & lively
            bias = readings.bias_of(column)
            if bias is not None:
                many &= share[:, bias] >= share[:, column] / 2
            stretch = first_stretch(many, least=5)
            if stretch is not None and column not in known:
                columns[column] = stretch[0]
    for group in readings.by_block(list(columns)):
        first = min(group, key=lambda column: columns[column])
        start, name = columns[first], readings.history.parameters[first].name
        yield finding(
            "dead_units",
            evidence=f"{share[start, first]:.0%} of the gradient of {brief(name)} is exactly "
            f"zero, and less than {_LIVELY:.0%} in most other blocks.",
            since_step=int(readings.steps[start]),
            place=place_of(readings.history, group),
        )


def _underflow(readings: Readings) -> Iterator[Finding]:
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
