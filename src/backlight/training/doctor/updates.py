"""Steps that are too large or too small for the weights: the learning rate, all in all."""

import math
from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from backlight.training.doctor.course import Course
from backlight.training.doctor.findings import Finding, finding
from backlight.training.doctor.readings import Readings, place_of
from backlight.training.doctor.robust import first_stretch, middle, past

_REPLACING = 0.7  # of the weights after a step came with it: little is left of those before
_MOST = 0.3  # of the weights in one step, again and again
_RAISED, _FAR_DOWN = 1.5, 0.1  # of the loss before it: at most, and in the end, if it was right
_TINY = 1e-6  # of the weights in one step, at best: not seen in float32
_SMALL = 1e-5  # the same, if the loss does not fall either
_APART = np.log(30.0)  # how far a matrix moves in a step against its siblings
_STILL = 0.1  # of the record: for less, nothing may move at its end
_ALSO = np.log(5.0)  # the same, by its norm
_JUMP = 10.0  # against all steps before
_PAST = 8  # recorded steps that a jump needs behind it
_SMALL_GAIN = 0.1  # of a linear map, below which a signal fades


def find_bad_updates(readings: Readings) -> Iterator[Finding]:
    """Find update-to-weight ratios that no training should have.

    Args:
        readings: What was recorded.

    Yields:
        Findings about the whole model, then about single blocks.
    """
    if not readings.has("update_ratio"):
        return
    yield from _stopped(readings)
    yield from _large(readings)
    yield from _tiny(readings)
    yield from _jump(readings)
    yield from _blocks(readings)


def _stopped(readings: Readings) -> Iterator[Finding]:
    """Find where nothing moves any more, for longer than a schedule's last steps."""
    ratios = readings.read("update_ratio")
    known = np.isfinite(ratios)
    some, moving = known.any(axis=1), (known & (ratios > 0)).any(axis=1)
    still = np.asarray(some & ~moving) & (readings.history.global_norm > 0)
    if len(still) < 3:
        return
    # A rate that waits at zero before it warms up, or touches zero in the end, is meant.
    stretch = first_stretch(still, least=max(3, math.ceil(_STILL * len(still))))
    if stretch is None or (stretch[0] == 0 and stretch[1] < len(still) - 1):
        return
    start, end = stretch
    rates = readings.history.learning_rates
    all_zero = rates.size > 0 and not np.nan_to_num(rates[start]).any()
    yield finding(
        "rate_zero",
        evidence="No parameter changed, though there was a gradient"
        + ("; the learning rate is zero." if all_zero else "."),
        since_step=int(readings.steps[start]),
        until_step=readings.until(end),
        cause=None
        if all_zero
        else "every step was skipped (a gradient scaler that overflows), or the optimizer holds "
        "other parameters than the model.",
    )


def _large(readings: Readings) -> Iterator[Finding]:
    update = readings.update
    replacing = update >= _REPLACING
    often = first_stretch(update >= _MOST, least=5) if len(update) >= 5 else None
    rows = np.flatnonzero(replacing)
    starts = [int(rows[0])] if len(rows) else []
    starts += [often[0]] if often else []
    if not starts:
        return
    start = min(starts)
    above = np.flatnonzero(update >= _MOST)
    known = readings.gains(start)
    small = float(middle(known)) < _SMALL_GAIN
    helped = _helped(readings.course, int(readings.steps[start]))
    early = int(readings.steps[start]) <= 5
    name = "small_initialisation" if small and early else "update_large"
    size = float(middle(known))
    yield finding(
        name,
        evidence=f"At step {int(readings.steps[start])} a step changed matrices by "
        f"{update[start]:.0%} of their norm (median), {np.nanmax(update):.0%} at most"
        + (f"; after it, a linear map multiplied a signal by about {size:.2g}." if small else ".")
        + _rates(readings, start),
        since_step=int(readings.steps[0 if name == "small_initialisation" else start]),
        until_step=readings.until(int(above[-1])),
        severity="warning" if helped and name == "update_large" else None,
    )


def _helped(course: Course, step: int) -> bool:
    """Check whether large steps were right: weights must grow to reach targets that are far away.

    Args:
        course: The losses.
        step: The first step that was large.

    Returns:
        From it on no loss is far above the one before it, and in the end they are far below.
    """
    before, after = course.losses[course.steps <= step], course.losses[course.steps > step]
    if not course.has_fallen or not len(before) or not len(after):
        return False
    return bool(after.max() < _RAISED * before[-1] and course.ends[1] < _FAR_DOWN * before[-1])


def _tiny(readings: Readings) -> Iterator[Finding]:
    update = readings.update
    moving = update[np.isfinite(update) & (update > 0)]
    if len(moving) < 10:
        return
    best = float(moving.max())
    if best >= (_SMALL if readings.course.is_flat else _TINY):
        return
    yield finding(
        "update_tiny",
        evidence=f"A step changed matrices by {best:.1e} of their norm (median) at most."
        + _rates(readings, int(np.nanargmax(update))),
        since_step=int(readings.steps[0]),
    )


def _jump(readings: Readings) -> Iterator[Finding]:
    # A jump exceeds the highest of all steps before, so that a warm-up, which rises step by step,
    # is none.
    update = np.where(readings.update > 0, readings.update, np.nan)
    highest = np.fmax.accumulate(np.concatenate([[np.nan], update]))[:-1]
    rows = np.flatnonzero(update >= 2 * highest)
    rows = rows[rows >= _PAST]
    recent = past(update[:, None], rows, window=_PAST, least=1)[0][:, 0]
    jumps = np.flatnonzero(update[rows] >= _JUMP * recent)
    if not len(jumps):
        return
    row, usual = int(rows[jumps[0]]), float(recent[jumps[0]])
    yield finding(
        "rate_jump",
        evidence=f"A step changed matrices by {update[row]:.1%} of their norm (median), "
        f"the steps before by {usual:.1%}." + _rates(readings, row, before=row - 1),
        since_step=int(readings.steps[row]),
        until_step=readings.until(row + _length(update[row:] >= _JUMP / 2 * usual) - 1),
    )


def _blocks(readings: Readings) -> Iterator[Finding]:
    """Compare blocks by how far they move.

    It must stand out by itself, and less strictly against the weights and against the gradient:
    without Adam, a layer with a small gradient moves little, which is no matter of its rate.

    Args:
        readings: What was recorded.

    Yields:
        A finding for each block.
    """
    ratio = readings.against_siblings(readings.updates)
    moved = readings.against_siblings(readings.updates + readings.weights)
    rate = moved - readings.against_siblings(readings.gradients)
    by_depth = sorted(readings.matrices, key=lambda each: readings.history.parameters[each].depth)
    ends = {*by_depth[:1], *by_depth[-1:]}
    for name, fast in (("layer_update_large", True), ("layer_update_small", False)):
        sign = 1 if fast else -1
        apart = (sign * moved > _APART) & (sign * ratio > _ALSO) & (sign * rate > _ALSO)
        for group, start, end in readings.blocks_where(apart):
            factor = float(np.exp(sign * middle(moved[start : start + 3, group])))
            # A new head on a body that was learned before has a rate of its own.
            at_an_end = len(group) == 1 and group[0] in ends
            yield finding(
                name,
                evidence=f"It moves {factor:.0f} times {'further' if fast else 'less far'} in a "
                "step than the same matrices of the blocks around it, "
                f"{float(np.exp(abs(middle(ratio[start : start + 3, group])))):.0f} times by its "
                "norm." + _groups(readings, start),
                since_step=int(readings.steps[start]),
                until_step=readings.until(end),
                place=place_of(readings.history, group),
                severity="warning" if at_an_end else None,
            )


def _rates(readings: Readings, row: int, before: int | None = None) -> str:
    rates = readings.history.learning_rates
    if not rates.size or not np.isfinite(rates[row]).any():
        return ""
    was = np.nan if before is None else np.fmax.reduce(rates[before])
    told = f", was {was:.2g}" if np.isfinite(was) else ""
    return f" The learning rate is {np.fmax.reduce(rates[row]):.2g}{told}."


def _groups(readings: Readings, row: int) -> str:
    rates = readings.history.learning_rates
    known = sorted({float(rate) for rate in rates[row] if np.isfinite(rate)}) if rates.size else []
    if len(known) < 2:
        return ""
    return f" The learning rates of the groups run from {known[0]:.2g} to {known[-1]:.2g}."


def _length(holds: NDArray[np.bool_]) -> int:
    """Return the length of the stretch that begins at the first place."""
    return int(np.argmin(np.append(holds, False)))
