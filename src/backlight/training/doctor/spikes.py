"""Gradients against their own past: sudden explosions, piling up, and clipping."""

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from backlight.foreign.text import brief
from backlight.training.doctor.course import noise_of
from backlight.training.doctor.findings import Finding, finding
from backlight.training.doctor.readings import Readings, place_of
from backlight.training.doctor.robust import in_pieces, middle, past, rises_above_past

_WINDOW, _PAST = 20, 8  # recorded steps that a norm is compared with, at most and at least
_FLOOR = 0.15  # the least spread that the logarithm of norms is thought to have
_SURPRISE = 8.0  # spreads
_JUMP = np.log(50.0)  # the whole gradient: learning itself can make it jump by twenty
_OWN_JUMP = np.log(300.0)  # one matrix, beyond what all others do ...
_QUIET = np.log(3.0)  # ... while these hardly change
_BEYOND = np.log(5.0)  # what makes some matrices the place of a jump of the whole
_STILL = 0.03  # change of a norm from step to step, as a share, below which nothing is new
_PILED = 3.0  # growth of the norm over ten steps
_NOISY = 0.005  # share of the loss by which batches differ, at least
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
    logs = np.log(np.where(np.isfinite(norms) & (norms > 0), norms, np.nan))[:, None]
    columns = list(readings.matrices)
    own = readings.gradients[:, columns]
    rows = np.union1d(
        rises_above_past(logs, _JUMP, window=_WINDOW),
        rises_above_past(own, _JUMP, window=_WINDOW),
    )
    for piece in in_pieces(len(rows), _WINDOW * (1 + len(columns))):
        found = _first(readings, rows[piece], logs, own)
        if found is not None:
            yield found
            return


def _first(
    readings: Readings,
    rows: NDArray[np.int64],
    logs: NDArray[np.float64],
    own: NDArray[np.float64],
) -> Finding | None:
    """Look for an explosion in some rows."""
    whole, strangeness = (each[:, 0] for each in _jumps(logs, rows, floor=_FLOOR))
    jumps, strange = _jumps(own, rows, floor=2 * _FLOOR)
    common = middle(jumps, axis=1) if own.shape[1] else np.zeros(len(rows))
    beyond = jumps - common[:, None]
    quiet = common < _QUIET
    # What rests at times (an expert, a layer that is dropped) has no past to be compared with.
    steady = strange > _SURPRISE
    steady &= _always_there(own, rows)
    alone = ((beyond > _OWN_JUMP) & (jumps > _JUMP) & steady & quiet[:, None]).any(axis=1)
    hits = np.flatnonzero(((whole > _JUMP) & (strangeness > _SURPRISE)) | alone)
    if not len(hits):
        return None
    hit, columns = int(hits[0]), list(readings.matrices)
    row = int(rows[hit])
    places = np.flatnonzero(beyond[hit] > _BEYOND)
    if alone[hit] or (0 < len(places) < len(columns) / 2 and quiet[hit]):
        place = int(places[np.argmax(jumps[hit, places])])
        chosen = [columns[each] for each in places]
        return _in_one_place(readings, row, chosen, jumps[hit, place], common[hit])
    return _everywhere(readings, row, float(np.exp(whole[hit])))


def _in_one_place(
    readings: Readings, row: int, columns: list[int], jump: float, common: float
) -> Finding:
    name = brief(readings.history.parameters[columns[0]].name)
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
    """Return the last step before a norm is less than thrice its past again, if it ever is."""
    back = np.flatnonzero(~(after > 3.0))
    return int(readings.steps[row + max(1, int(back[0])) - 1]) if len(back) else None


def _jumps(
    logs: NDArray[np.float64], rows: NDArray[np.int64], *, floor: float
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Compare rows with their past: differences from its median, and the same in its spreads."""
    centre, spread = past(logs, rows, window=_WINDOW, least=_PAST)
    jump = logs[rows] - centre
    return jump, jump / np.maximum(spread, floor)


def _always_there(logs: NDArray[np.float64], rows: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Find what had a gradient at all rows of its past."""
    missing = np.cumsum(np.isnan(logs), axis=0)
    before = missing[rows - 1] - np.where(
        (rows > _WINDOW)[:, None], missing[np.maximum(rows - _WINDOW - 1, 0)], 0
    )
    return before == 0


def _level(readings: Readings, columns: list[int], row: int) -> NDArray[np.float64]:
    """Return how far some norms lie above their past of one step, from that step on."""
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
    """Find gradients that hardly change from one step to the next, but grow: they are summed."""
    steps, columns = readings.steps, list(readings.matrices)
    if len(steps) < 12 or not (np.diff(steps[:12]) == 1).all():
        return
    logs = readings.gradients[:, columns]
    change = middle(np.abs(np.diff(logs, axis=0)), axis=1)[4:]
    norm = readings.history.global_norm
    if not middle(change[: 2 * _WINDOW]) < _STILL or not norm[9] > _PILED * norm[0]:
        return
    losses = readings.history.losses[: 2 * _WINDOW]
    if not noise_of(losses) > _NOISY * abs(middle(losses)):
        return  # batches are alike, so gradients hardly change either, whatever is cleared
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
