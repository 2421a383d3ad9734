"""Gradients that are exactly zero: dead places, dead units, and underflow."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from backlight.training.symptoms.catalogue import finding
from backlight.training.symptoms.findings import Finding
from backlight.training.symptoms.readings import Readings, place_of
from backlight.training.symptoms.robust import first_stretch, middle
from backlight.training.symptoms.underflow import find_underflow

__all__ = ["find_zeros"]

_DEAD_UNITS = 0.5  # share of zeros in one place ...
_LIVELY = 0.1  # ... where siblings have fewer than this
_CHANCE = 0.01  # that some place rests for so long though it is used now and then
_USED = 0.99  # how often a place is used, at most: all have a batch without any gradient
_HALF = 0.5  # of the record, for which one of many has to rest
_LEAST = 3  # recorded steps, below which one may as well not have been used yet
_PRIOR = 2.0  # steps that the usage of like places counts for


@dataclass(frozen=True, slots=True, kw_only=True)
class _Rest:
    """A stretch of rows over which one matrix has a gradient of zeros only."""

    column: int
    start: int
    end: int


def find_zeros(readings: Readings) -> Iterator[Finding]:
    """Find matrices without any gradient, with many zeros, and zeros everywhere.

    What rests at times is used seldom, not dead: an expert that gets no token, a layer that is
    dropped. It is dead if it rests until the end, and for longer than its own past, and that of
    places like it, lets expect. What is zero from the start and then is not has started at zero
    (branches, low-rank adapters, a part of the loss that comes in later). Embeddings are left out
    (tokens that do not occur have no gradient), and so are vectors: the gradient of a key's bias is
    zero whatever the model is, since a softmax does not see what is added to all its inputs.

    Args:
        readings: What was recorded.

    Yields:
        A finding for each block.
    """
    columns = readings.matrices
    if not len(readings.steps) or not columns:
        return
    rests = list(_rests(readings))
    yield from _dead(readings, rests)
    underflow = list(find_underflow(readings))
    yield from underflow
    if not underflow:
        yield from _dead_units(readings, {rest.column for rest in rests})


def _rests(readings: Readings) -> Iterator[_Rest]:
    """Find where the gradient of a matrix is zero for longer than chance allows."""
    present = readings.history.present
    zero = present & (readings.read("norm") == 0)
    used = present & ~zero
    columns = [column for column in readings.matrices if zero[:, column].any()]
    if not columns or _begins_at_zero(readings):
        return
    usual = _usage_of_kin(readings, used)
    for column in columns:
        rest = _longest(zero[:, column], column)
        length = rest.end - rest.start + 1
        outside = len(zero) - length
        rate = used[:, column].sum() + _PRIOR * usual[column]
        rate = min(_USED, float(rate) / (outside + _PRIOR))
        unlikely = len(readings.matrices) * (1 - rate) ** length < _CHANCE and length >= _LEAST
        lasts, alone = rest.end == len(zero) - 1, zero[:, column].sum() == length
        if lasts:
            # Experts have times in which they are chosen and others in which they are not.
            of_many = usual[column] < _USED
            if unlikely and (not of_many or length >= _HALF * len(zero)):
                yield rest
            elif outside == 0 and length < _LEAST:
                yield rest
        elif unlikely and alone and rest.start > 0:
            yield rest


def _longest(zero: NDArray[np.bool_], column: int) -> _Rest:
    """Give the stretch of zeros that lasts until the end, else the longest."""
    edges = np.flatnonzero(np.diff(np.concatenate([[False], zero, [False]]).astype(np.int8)))
    starts, ends = edges[::2], edges[1::2]
    place = len(ends) - 1 if zero[-1] else int(np.argmax(ends - starts))
    return _Rest(column=column, start=int(starts[place]), end=int(ends[place]) - 1)


def _usage_of_kin(readings: Readings, used: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Give how often the places like each one are used: all experts, or all matrices."""
    shares = used.mean(axis=0)
    usual = np.full(len(shares), middle(shares[list(readings.matrices)]))
    for kin in readings.kin:
        own = shares[list(kin)]
        usual[list(kin)] = (own.sum() - own) / (len(kin) - 1)
    return usual


def _begins_at_zero(readings: Readings) -> bool:
    """Tell whether a short record is that of a model with weights of zero, which stop others."""
    weights = readings.read("weight_norm")[:, list(readings.matrices)]
    return len(readings.steps) < _LEAST and bool((weights == 0).any())


def _dead(readings: Readings, rests: Sequence[_Rest]) -> Iterator[Finding]:
    for start in sorted({rest.start for rest in rests}):
        ends = {rest.column: rest.end for rest in rests if rest.start == start}
        for group in readings.by_block(list(ends)):
            end = max(ends[column] for column in group)
            names = ", ".join(readings.history.parameters[column].name for column in group[:3])
            more = f" and {len(group) - 3} more" if len(group) > 3 else ""
            rows = end - start + 1
            told = "at the one recorded step" if rows == 1 else f"at {rows} recorded steps in a row"
            passing = readings.until(end) is not None or len(readings.steps) < _LEAST
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
            evidence=f"{share[start, first]:.0%} of the gradient of {name} is exactly zero, and "
            f"less than {_LIVELY:.0%} in most other blocks.",
            since_step=int(readings.steps[start]),
            place=place_of(readings.history, group),
        )
