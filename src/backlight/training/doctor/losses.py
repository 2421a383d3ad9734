"""The loss over steps: flat, stuck, spiking, rising, or falling too smoothly."""

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from backlight.training.doctor.course import Course, noise_of
from backlight.training.doctor.findings import Finding, finding
from backlight.training.doctor.readings import Readings
from backlight.training.doctor.robust import in_pieces, middle, past

_WINDOW, _PAST, _NOISY = 20, 10, 29
_SURPRISE = 8.0
_RISE = 0.1  # of the loss, for a spike
_TAIL = 3.0  # times what is seen ...
_RARE = 0.98  # ... at one in fifty steps
_SHORT, _SAMPLE = 2000, 20_000  # losses that are looked at one by one, and at most
_LONG = 10  # losses, for which an odd batch does not last
_SMALL_JUMP = 0.5  # of the loss, below which one that passes is no error
_SCALED = 10.0  # times as large, for good
_PLATEAU_LEAST = 100
_NO_FALL = 0.04  # of all that the loss fell, at most in the rest of the run, for sure
_FLAT_SHARE = 0.6  # of a run
_SMOOTH = 40
_GIVEN_BACK = 0.5  # of all that the loss had fallen
_FORGOTTEN = 0.9  # the same, where nothing that was learned is left


def find_bad_losses(readings: Readings) -> Iterator[Finding]:
    """Find what is odd about the course of the loss.

    Args:
        readings: What was recorded.

    Yields:
        Findings about the whole model.
    """
    course = readings.course
    if not course.is_long or not course.is_error:
        return
    yield from _spike(course)
    rises = list(_rises(course))
    yield from rises
    if not rises and course.is_flat:
        first, last = course.ends
        yield finding(
            "loss_flat",
            evidence=f"The loss is {first:.4g} in the first fifth of the steps and {last:.4g} in "
            f"the last; batches differ by {course.noise:.2g}.",
            since_step=int(course.steps[0]),
            severity="error" if course.is_unlearned else "warning",
        )
    elif not rises:
        yield from _plateau(course)
        yield from _smooth(course)


def _spike(course: Course) -> Iterator[Finding]:
    row, before, noise = _first_spike(course)
    if row is None:
        return
    steps, losses = course.steps, course.losses
    jump = losses[row] - before
    small = jump < _SMALL_JUMP * abs(before)
    back = np.flatnonzero(losses[row:] < before + jump / 2)
    scaled = losses[row] > _SCALED * before > 0
    stays = not len(back)
    # What stays up and is learned from there on was made harder: other data, another weight.
    long = stays or back[0] >= _LONG
    forgotten = long and _is_forgotten(course, float(losses[row]), before)
    learned = long and not scaled and not forgotten and _falls(losses[row:])
    yield finding(
        "loss_spike",
        cause="the loss is on another scale from this step on (a sum instead of a mean, another "
        "weight), or a step that was much too large just before."
        if scaled and stays
        else "nothing that was learned counts from this step on, since the loss is back at that of "
        "guessing: the weights are other ones, or the targets are not those of the inputs."
        if forgotten
        else "the task is another one from this step on (other data, longer texts, another weight "
        "of a part of the loss), since the loss falls from there."
        if learned
        else None,
        evidence=f"The loss is {losses[row]:.4g}, {before:.4g} in the {_WINDOW} steps before "
        f"(median), where batches differ by {noise:.2g}.",
        since_step=int(steps[row]),
        until_step=int(steps[row + back[0] - 1]) if len(back) else None,
        severity="warning"
        if learned
        or (small and not stays and not forgotten)
        or (course.may_be_another and not (scaled and stays))
        else None,
    )


def _is_forgotten(course: Course, loss: float, before: float) -> bool:
    """Check whether a jump leads back to guessing; else the task has become harder."""
    fallen = float(middle(course.losses[:5])) - before
    return course.starts_unlearned and loss - before >= _FORGOTTEN * fallen > 0


def _first_spike(course: Course) -> tuple[int | None, float, float]:
    """Find the first loss that is far above its past, as a number and as a multiple.

    Short batches have losses whose sizes differ by factors: in logarithms, these are no surprise.

    Args:
        course: The losses.

    Returns:
        Its place, the median of those before it, and how much these differ.
    """
    # Cheap tests come first, and each leaves few rows for the next: by size, by the noise of the
    # steps before, by the same in logarithms, by how far losses lie off now and then anyway.
    losses = course.losses
    logs = np.log(np.where(losses > 0, losses, np.nan))
    usual = _excursions(losses)
    for piece in in_pieces(len(losses), 8 * _NOISY):
        rows = np.arange(piece.start, piece.stop)
        before = past(losses[:, None], rows, window=_WINDOW, least=_PAST)[0][:, 0]
        some = losses[rows] - before > _RISE * np.abs(before)
        rows, before = rows[some], before[some]
        noise = np.maximum(_noise_before(losses, rows), course.noise / 2)
        odd = losses[rows] - before > _SURPRISE * np.maximum(noise, 1e-12)
        rows, before, noise = rows[odd], before[odd], noise[odd]
        factor = logs[rows] - np.log(np.where(before > 0, before, np.nan))
        known = _SURPRISE * np.maximum(_noise_before(logs, rows), 1e-12)
        far = ~(factor <= known) & (losses[rows] - before > _TAIL * usual[rows])
        hits = np.flatnonzero(far)
        if len(hits):
            first = int(hits[0])
            return int(rows[first]), float(before[first]), float(noise[first])
    return None, 0.0, 0.0


def _excursions(losses: NDArray[np.float64]) -> NDArray[np.float64]:
    """Measure how far losses lie above their past now and then: noise may have a long tail.

    Args:
        losses: ``[L]``.

    Returns:
        ``[L]``, the distance that one in fifty others exceeds: at any time before, or, if that is
        less, at any time at all but soon after the loss in question.
    """
    rows = np.arange(0, len(losses), max(1, len(losses) // _SAMPLE))
    before = past(losses[:, None], rows, window=_WINDOW, least=_PAST)[0][:, 0]
    known = np.isfinite(before)
    rows, apart = rows[known], np.maximum(losses[rows] - before, 0.0)[known]
    everywhere = float(np.quantile(apart, _RARE)) if len(apart) else 0.0
    if len(losses) > _SHORT:
        return np.full(len(losses), everywhere)
    usual = np.zeros(len(losses))
    for row in range(len(losses)):
        earlier = apart[rows < row]
        others = apart[(rows < row) | (rows > row + 2 * _WINDOW)]
        if len(earlier) >= _PAST:
            usual[row] = min(np.quantile(earlier, _RARE), np.quantile(others, _RARE))
    return usual


def _noise_before(losses: NDArray[np.float64], rows: NDArray[np.int64]) -> NDArray[np.float64]:
    changes = np.concatenate([[np.nan], np.diff(losses)])[:, None]
    return past(changes, rows, window=_NOISY, least=_PAST)[1][:, 0] / np.sqrt(2)


def _falls(losses: NDArray[np.float64]) -> bool:
    """Check whether losses fall from their first third to their last by more than noise."""
    part = len(losses) // 3
    if part < 5:
        return False
    # Two standard errors of a difference of medians (1.25 = sqrt(pi / 2)).
    gain = float(middle(losses[:part]) - middle(losses[-part:]))
    return bool(gain > 2 * 1.25 * noise_of(losses) * np.sqrt(2 / part))


def _rises(course: Course) -> Iterator[Finding]:
    steps, losses, smooth = course.steps, course.losses, course.smooth
    width = len(losses) - len(smooth) + 1
    lowest = np.minimum.accumulate(smooth)
    margin = np.maximum(5 * course.noise / np.sqrt(width), 0.1 * np.abs(lowest))
    above = smooth > lowest + margin
    end = float(middle(losses[-max(5, len(losses) // 10) :]))
    if not above[-1] or not end > float(lowest[-1] + margin[-1]):
        return
    best = int(np.argmin(smooth)) + width // 2
    level = float(lowest[-1] + margin[-1])
    # It rises from the first step on from which most losses lie above, not from a first spike.
    rest = losses[best:] > level
    share = np.cumsum(rest[::-1])[::-1] / np.arange(len(rest), 0, -1)
    lasting = np.flatnonzero(rest & (share > 0.5))
    start = best + (int(lasting[0]) if len(lasting) else 0)
    yield finding(
        "loss_rises",
        evidence=f"The loss was {float(lowest[-1]):.4g} around step {int(steps[best])} (median of "
        f"{width} steps) and is {end:.4g} at the end.",
        since_step=int(steps[start]),
        severity=None if _runs_away(course, float(lowest[-1]), end) else "warning",
    )


def _runs_away(course: Course, lowest: float, end: float) -> bool:
    """Check whether most of what was learned is lost; else the task has become harder."""
    start = float(middle(course.losses[:5]))
    if course.may_be_another:
        return end > _SCALED * start
    return end - lowest > _GIVEN_BACK * max(0.0, start - lowest)


def _plateau(course: Course) -> Iterator[Finding]:
    """Look for the earliest step from which on the loss does not fall any more."""
    steps, losses, count = course.steps, course.losses, len(course.losses)
    if count < _PLATEAU_LEAST:
        return
    start = int((1 - _FLAT_SHARE) * count)
    rest = losses[start:]
    half = len(rest) // 2
    gain = float(middle(rest[:half]) - middle(rest[half:]))
    total = float(middle(losses[:5]) - middle(rest[half:]))
    error = 1.25 * noise_of(rest) * np.sqrt(2 / half)
    if total <= 0 or gain + 2 * error > _NO_FALL * total:
        return
    level = float(middle(rest))
    reached = np.flatnonzero(course.smooth <= level + 0.05 * total)
    since = int(reached[0]) + 4 if len(reached) else start
    yield finding(
        "loss_plateau",
        evidence=f"The loss fell from {float(middle(losses[:5])):.4g} to {level:.4g} by step "
        f"{int(steps[since])} and has not fallen since: {gain:+.2g} between the halves of the rest "
        f"(batches differ by {noise_of(rest):.2g}).",
        since_step=int(steps[since]),
    )


def _smooth(course: Course) -> Iterator[Finding]:
    """Check whether the loss falls at nearly every step, and almost to nothing."""
    steps, losses = course.steps, course.losses
    if len(losses) <= _SMOOTH or not losses.min() < 0.25 * losses[0] or losses[0] <= 0:
        return
    falls = (np.diff(losses) < 0).astype(np.float64)
    shares = np.convolve(falls, np.full(_SMOOTH, 1 / _SMOOTH), mode="valid")
    rows = np.flatnonzero(shares > 0.9)
    if len(rows):
        start = int(rows[0])
        yield finding(
            "one_batch",
            evidence=f"From step {int(steps[start])} on the loss falls at {shares[start]:.0%} of "
            f"{_SMOOTH} steps, and to {losses.min():.2g} from {losses[0]:.2g}.",
            since_step=int(steps[start]),
        )
