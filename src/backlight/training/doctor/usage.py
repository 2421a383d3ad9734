"""What rests at times is used seldom, not dead: how long a rest may last before it is none."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from backlight.training.doctor.readings import Readings
from backlight.training.doctor.robust import stretches

LEAST_REST = 3
"""Recorded steps, below which one may as well not have been used yet."""

_CHANCE = 0.01  # that some place rests for so long though it is used now and then
_USED = 0.99  # how often a place is used, at most: all have a batch without any gradient
_PRIOR = 2.0  # steps that the usage of like places counts for
_HALF = 0.5  # of the record, for which one of many has to rest ...
_QUARTER, _LONGER = 0.25, 10  # ... or less, but that many times as long as ever


@dataclass(frozen=True, slots=True, kw_only=True)
class Rest:
    """A stretch of rows over which a parameter learns nothing.

    Attributes:
        column: The parameter.
        start: The first row.
        end: The last one.
    """

    column: int
    start: int
    end: int


def rests(
    readings: Readings,
    resting: NDArray[np.bool_],
    used: NDArray[np.bool_],
    columns: Sequence[int],
) -> Iterator[Rest]:
    """Find rests that are longer than chance allows.

    An expert that gets no token and a layer that is dropped rest at times, and are used again. A
    rest that lasts until the end is told if it is longer than the past of the parameter, and the
    usage of those like it, let expect; of many of a kind that are chosen among (experts), whose
    usage has its tides, if it is half of the record besides, or a quarter and ten times as long as
    any before. A rest that has ended is told if it
    was the only one. What rests from the start and then does not has begun at zero: branches,
    low-rank adapters, a part of the loss that comes in later.

    Args:
        readings: What was recorded.
        resting: ``[T, P]``.
        used: ``[T, P]``; neither of the two is what is not known.
        columns: The parameters in question.

    Yields:
        At most one for each.
    """
    usual = _usage_of_kin(readings, used)
    count = len(resting)
    for column in columns:
        if not resting[:, column].any():
            continue
        rest = _longest(resting[:, column], column)
        length = rest.end - rest.start + 1
        if length < LEAST_REST:
            continue
        # The chance of so long a rest of a place that is used at its usual rate (what the place
        # itself has shown, and a little of its like), times the number of places that might rest.
        of_many = bool(usual[column] < _USED)
        rate = used[:, column].sum() + _PRIOR * usual[column]
        rate = min(_USED, float(rate) / (count - length + _PRIOR))
        if len(columns) * (1 - rate) ** length >= _CHANCE:
            continue
        if rest.end == count - 1:
            if not of_many or _is_no_tide(resting[:, column], rest):
                yield rest
        elif rest.start > 0 and not of_many and resting[:, column].sum() == length:
            yield rest


def _is_no_tide(resting: NDArray[np.bool_], rest: Rest) -> bool:
    length = rest.end - rest.start + 1
    starts, ends = stretches(resting[: rest.start])
    longest = 1 + int(np.max(ends - starts, initial=0))
    long = length >= _QUARTER * len(resting) and length >= _LONGER * longest
    return long or length >= _HALF * len(resting)


def _longest(resting: NDArray[np.bool_], column: int) -> Rest:
    """Return the rest that lasts until the end, else the longest."""
    starts, ends = stretches(resting)
    place = len(ends) - 1 if resting[-1] else int(np.argmax(ends - starts))
    return Rest(column=column, start=int(starts[place]), end=int(ends[place]) - 1)


def _usage_of_kin(readings: Readings, used: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Return how often the parameters like each one are used, of those that are used at all."""
    shares = used.mean(axis=0)
    usual = np.ones(len(shares))
    for kin in readings.kin:
        own = shares[list(kin)]
        others, count = own.sum() - own, (own > 0).sum() - (own > 0)
        usual[list(kin)] = np.where(count > 0, others / np.maximum(count, 1), 1.0)
    return usual
