"""The loss over steps: flat, stuck, spiking, rising, or falling too smoothly."""

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from backlight.training.symptoms.catalogue import finding
from backlight.training.symptoms.findings import Finding
from backlight.training.symptoms.readings import Readings
from backlight.training.symptoms.robust import middle, surprise

__all__ = ["find_bad_losses", "is_flat", "noise_of"]

_LEAST = 30  # losses, below which nothing is said of their course
_WINDOW, _PAST = 20, 10
_SURPRISE = 8.0
_RISE = 0.1  # of the loss, for a spike
_SCALED = 10.0  # times as large, for good
_PLATEAU_LEAST = 100
_NO_FALL = 0.04  # of all that the loss fell, at most in the rest of the run, for sure
_FLAT_SHARE = 0.6  # of a run
_SMOOTH = 40


def noise_of(losses: NDArray[np.float64]) -> float:
    """Measure how much the loss differs between batches, from neighbouring steps."""
    changes = np.diff(losses)
    return float(1.4826 * middle(np.abs(changes - middle(changes))) / np.sqrt(2))


def is_flat(losses: NDArray[np.float64]) -> bool:
    """Tell whether the loss is at the end about what it was at the beginning.

    Args:
        losses: One for each step.

    Returns:
        Whether its last fifth lies no lower than the first by more than noise and 2 %; not for
        fewer than thirty losses.
    """
    known = losses[np.isfinite(losses)]
    if len(known) < _LEAST:
        return False
    part = len(known) // 5
    first, last = float(middle(known[:part])), float(middle(known[-part:]))
    return bool(first - last < max(0.02 * abs(first), 4 * noise_of(known) / np.sqrt(part)))


def find_bad_losses(readings: Readings) -> Iterator[Finding]:
    """Find what is odd about the course of the loss.

    Args:
        readings: What was recorded.

    Yields:
        Findings about the whole model.
    """
    steps, losses = readings.history.loss_steps, readings.history.losses
    known = np.isfinite(losses)
    steps, losses = steps[known], losses[known]
    if len(losses) < _LEAST:
        return
    yield from _spike(steps, losses)
    rises = list(_rises(steps, losses))
    yield from rises
    if not rises and is_flat(losses):
        yield finding(
            "loss_flat",
            evidence=f"The loss is {float(middle(losses[: len(losses) // 5])):.4g} in the first "
            f"fifth of the steps and {float(middle(losses[-(len(losses) // 5) :])):.4g} in the "
            f"last; batches differ by {noise_of(losses):.2g}.",
            since_step=int(steps[0]),
        )
    elif not rises:
        yield from _plateau(steps, losses)
        yield from _smooth(steps, losses)


def _spike(steps: NDArray[np.int64], losses: NDArray[np.float64]) -> Iterator[Finding]:
    jump, _ = surprise(losses, window=_WINDOW, least=_PAST, floor=1.0)
    before = losses - jump
    noise = np.array(
        [noise_of(losses[max(0, i - 30) : i]) if i > _PAST else np.nan for i in range(len(losses))]
    )
    odd = (jump > _SURPRISE * np.maximum(noise, 1e-12)) & (jump > _RISE * np.abs(before))
    rows = np.flatnonzero(odd)
    if not len(rows):
        return
    row = int(rows[0])
    back = np.flatnonzero(losses[row:] < before[row] + jump[row] / 2)
    scaled = losses[row] > _SCALED * before[row] > 0 and not len(back)
    yield finding(
        "loss_spike",
        cause="the loss is on another scale from this step on (a sum instead of a mean, another "
        "weight), or a step that was much too large just before."
        if scaled
        else None,
        evidence=f"The loss is {losses[row]:.4g}, {before[row]:.4g} in the {_WINDOW} steps before "
        f"(median), where batches differ by {noise[row]:.2g}.",
        since_step=int(steps[row]),
        until_step=int(steps[row + back[0] - 1]) if len(back) else None,
    )


def _rises(steps: NDArray[np.int64], losses: NDArray[np.float64]) -> Iterator[Finding]:
    width = min(9, len(losses) // 3)
    smooth = middle(np.lib.stride_tricks.sliding_window_view(losses, width), axis=1)
    lowest = np.minimum.accumulate(smooth)
    margin = np.maximum(5 * noise_of(losses) / np.sqrt(width), 0.1 * np.abs(lowest))
    above = smooth > lowest + margin
    end = float(middle(losses[-max(5, len(losses) // 10) :]))
    if not above[-1] or not end > float(lowest[-1] + margin[-1]):
        return
    best = int(np.argmin(smooth)) + width // 2
    level = float(lowest[-1] + margin[-1])
    rest = losses[best:] > level
    share = np.cumsum(rest[::-1])[::-1] / np.arange(len(rest), 0, -1)
    lasting = np.flatnonzero(rest & (share > 0.5))
    start = best + int(lasting[0])
    yield finding(
        "loss_rises",
        evidence=f"The loss was {float(lowest[-1]):.4g} around step {int(steps[best])} (median of "
        f"{width} steps) and is {end:.4g} at the end.",
        since_step=int(steps[start]),
    )


def _plateau(steps: NDArray[np.int64], losses: NDArray[np.float64]) -> Iterator[Finding]:
    """Look for the earliest step from which on the loss does not fall any more."""
    count = len(losses)
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
    width = 9
    smooth = middle(np.lib.stride_tricks.sliding_window_view(losses, width), axis=1)
    reached = np.flatnonzero(smooth <= level + 0.05 * total)
    since = int(reached[0]) + width // 2 if len(reached) else start
    yield finding(
        "loss_plateau",
        evidence=f"The loss fell from {float(middle(losses[:5])):.4g} to {level:.4g} by step "
        f"{int(steps[since])} and has not fallen since: {gain:+.2g} between the halves of the rest "
        f"(batches differ by {noise_of(rest):.2g}).",
        since_step=int(steps[since]),
    )


def _smooth(steps: NDArray[np.int64], losses: NDArray[np.float64]) -> Iterator[Finding]:
    """See whether the loss falls at nearly every step, and almost to nothing."""
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
