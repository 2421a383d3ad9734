"""Gradients that are exactly zero: dead places, dead units, and underflow."""

from collections.abc import Iterator, Sequence

from backlight.foreign.text import brief
from backlight.training.doctor.catalogue import finding
from backlight.training.doctor.findings import Finding
from backlight.training.doctor.readings import Readings, place_of
from backlight.training.doctor.robust import first_stretch, middle
from backlight.training.doctor.underflow import find_underflow
from backlight.training.doctor.usage import LEAST_REST, Rest, rests

_DEAD_UNITS = 0.5  # share of zeros in one place ...
_LIVELY = 0.1  # ... where siblings have fewer than this


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
    underflow = list(find_underflow(readings))
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
