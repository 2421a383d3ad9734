"""Gradients against their own past: sudden explosions, piling up, and clipping."""

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from backlight.training.symptoms.catalogue import finding
from backlight.training.symptoms.findings import Finding
from backlight.training.symptoms.readings import Readings, place_of
from backlight.training.symptoms.robust import middle, surprise

__all__ = ["find_spikes"]

_WINDOW, _PAST = 20, 8  # recorded steps that a norm is compared with, at most and at least
_FLOOR = 0.15  # the least spread that the logarithm of norms is thought to have
_SURPRISE = 8.0  # spreads
_JUMP = np.log(50.0)  # the whole gradient: learning itself can make it jump by twenty
_OWN_JUMP = np.log(300.0)  # one matrix, beyond what all others do ...
_QUIET = np.log(3.0)  # ... while these hardly change
_BEYOND = np.log(5.0)  # what makes some matrices the place of a jump of the whole
_STILL = 0.03  # change of a norm from step to step, as a share, below which nothing is new
_PILED = 3.0  # growth of the norm over ten steps
_LIMIT = 100.0  # clipping by this factor at the usual step


def find_spikes(readings: Readings) -> Iterator[Finding]:
    """Find steps whose gradient is far above those before, and gradients that are never cleared.

    Args:
        readings: What was recorded.

    Yields:
        The first explosion of the whole gradient or of one place, and others by themselves.
    """
    yield from _piled_up(readings)
    yield from _explosion(readings)
    yield from _clipped(readings)


def _explosion(readings: Readings) -> Iterator[Finding]:
    """Find the first explosion; of one that is in a place and in the whole, the place is told."""
    norms = readings.history.global_norm
    logs = np.log(np.where(np.isfinite(norms) & (norms > 0), norms, np.nan))
    jump, spreads = surprise(logs, window=_WINDOW, least=_PAST, floor=_FLOOR)
    whole = (jump > _JUMP) & (spreads > _SURPRISE)
    columns = list(readings.matrices)
    own, strange = _jumps(readings.gradients[:, columns])
    common = middle(own, axis=1)
    beyond = own - common[:, None]
    quiet = (common < _QUIET)[:, None]
    alone = ((beyond > _OWN_JUMP) & (strange > _SURPRISE) & quiet).any(axis=1)
    rows = np.flatnonzero(whole | alone)
    if not len(rows):
        return
    row = int(rows[0])
    places = np.flatnonzero(beyond[row] > _BEYOND)
    if alone[row] or (0 < len(places) < len(columns) / 2 and common[row] < _QUIET):
        place = int(places[np.argmax(own[row, places])])
        chosen = [columns[each] for each in places]
        yield _in_one_place(readings, row, chosen, own[row, place], common[row])
    else:
        yield _everywhere(readings, row, float(np.exp(jump[row])))


def _in_one_place(
    readings: Readings, row: int, columns: list[int], jump: float, common: float
) -> Finding:
    name = readings.history.parameters[columns[0]].name
    return finding(
        "gradient_spike",
        evidence=f"The gradient of {name} is {np.exp(jump):.3g} times its median of the {_WINDOW} "
        f"recorded steps before; that of other matrices {np.exp(common):.2g} times."
        + _loss(readings, row),
        since_step=int(readings.steps[row]),
        until_step=_end(readings, row, np.exp(_level(readings, columns, row))),
        place=place_of(readings.history, columns),
        cause="something in this place alone: an input that it fails on (a division by nearly "
        "zero, an overflow that was caught), a hook, or its own weights just before.",
    )


def _everywhere(readings: Readings, row: int, jump: float) -> Finding:
    norms = readings.history.global_norm
    return finding(
        "gradient_spike",
        evidence=f"The norm of the whole gradient is {norms[row]:.3g}, {jump:.3g} times its median "
        f"of the {_WINDOW} recorded steps before." + _loss(readings, row),
        since_step=int(readings.steps[row]),
        until_step=_end(readings, row, norms[row:] / (norms[row] / jump)),
    )


def _end(readings: Readings, row: int, after: NDArray[np.float64]) -> int | None:
    """Give the last step before a norm is back at less than thrice its past; None if it is not."""
    back = np.flatnonzero(~(after > 3.0))
    return int(readings.steps[row + max(1, int(back[0])) - 1]) if len(back) else None


def _jumps(logs: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    own, strange = np.full(logs.shape, np.nan), np.full(logs.shape, np.nan)
    for place in range(logs.shape[1]):
        own[:, place], strange[:, place] = surprise(
            logs[:, place], window=_WINDOW, least=_PAST, floor=2 * _FLOOR
        )
    return own, strange


def _level(readings: Readings, columns: list[int], row: int) -> NDArray[np.float64]:
    """Give how far some norms lie above their past of one step, from that step on."""
    logs = readings.gradients[:, columns].max(axis=1)
    return logs[row:] - middle(logs[max(0, row - _WINDOW) : row])


def _loss(readings: Readings, row: int) -> str:
    history = readings.history
    here = np.flatnonzero(history.loss_steps == readings.steps[row])
    if not len(here) or here[0] < 1:
        return ""
    usual = middle(history.losses[max(0, int(here[0]) - _WINDOW) : int(here[0])])
    return f" The loss is {history.losses[here[0]]:.3g}, {float(usual):.3g} before."


def _piled_up(readings: Readings) -> Iterator[Finding]:
    """See whether gradients hardly change from one step to the next, but grow: they are summed."""
    steps, columns = readings.steps, list(readings.matrices)
    if len(steps) < 12 or not (np.diff(steps[:12]) == 1).all():
        return
    logs = readings.gradients[:, columns]
    change = middle(np.abs(np.diff(logs, axis=0)), axis=1)[4:]
    norm = readings.history.global_norm
    if not middle(change[: 2 * _WINDOW]) < _STILL or not norm[9] > _PILED * norm[0]:
        return
    yield finding(
        "gradients_pile_up",
        evidence=f"Norms of matrices change by {float(middle(change)):.1%} from step to step "
        f"(batches differ by more), while the norm of the whole grew from {norm[0]:.2g} to "
        f"{norm[9]:.2g} in the first ten recorded steps.",
        since_step=int(steps[0]),
    )


def _clipped(readings: Readings) -> Iterator[Finding]:
    raw, clipped = readings.history.global_norm, readings.history.clipped_norm
    known = np.isfinite(raw) & np.isfinite(clipped) & (clipped > 0)
    if known.sum() < 10:
        return
    factors = raw[known] / clipped[known]
    if not middle(factors) > _LIMIT or not (factors > 2).all():
        return
    yield finding(
        "always_clipped",
        evidence=f"The gradient is clipped at every step, from {float(middle(raw[known])):.2g} to "
        f"{float(middle(clipped[known])):.2g} (medians).",
        since_step=int(readings.steps[known][0]),
    )
