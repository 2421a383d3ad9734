"""NaN and infinity: which of them passed, and where and when the others began."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from backlight.training.doctor.findings import Finding, Place, finding, were
from backlight.training.doctor.readings import Readings, place_of
from backlight.training.log.history import Event, History

_WHERE = {
    "weight": "The weights themselves were not finite",
    "forward": "It is the first module with finite inputs and an output that is not",
    "backward": "It is the first module on the way back whose gradient is not finite",
    "unknown": "Where it began is not known",
}
_PASSED = (
    "an overflow or an odd batch whose step was left out, by a gradient scaler or by the loop: the "
    "numbers after it are finite, so the weights are."
)
_BY_ROW = [
    "steps",
    "present",
    "global_norm",
    "clipped_norm",
    "learning_rates",
    "scale",
    "rank_norms",
]
_OFTEN = 0.1  # share of steps that are not finite, above which they do not count as passing
_NEAR = 3  # recorded steps by which an event may lie before the first bad one that is recorded


@dataclass(frozen=True, kw_only=True)
class NonFinite:
    """Which steps of a history are not finite, and from when on nothing is finite any more.

    A step that is left out spoils nothing: a gradient scaler leaves some out to find its factor,
    and a loop may pass over an odd batch. If the numbers are finite again afterwards, the weights
    are too, and the others can be judged.

    Attributes:
        readings: What was recorded.
    """

    readings: Readings

    @cached_property
    def gradients(self) -> NDArray[np.bool_]:
        """``[T, P]``, the gradient of a parameter is there and not finite."""
        counts = np.nan_to_num(self.readings.read("num_nan"))
        counts = counts + np.nan_to_num(self.readings.read("num_inf"))
        bad, history = counts > 0, self.readings.history
        if "norm" in history.statistics:
            bad = bad | ~np.isfinite(history.statistics["norm"])
        return history.present & bad

    @cached_property
    def rows(self) -> NDArray[np.bool_]:
        """``[T]``, some gradient is not finite.

        The norm of the whole tells it only where there is nothing else: it may not have been told.
        """
        whole = ~np.isfinite(self.readings.history.global_norm)
        alone = ~self.readings.history.present.any(axis=1)
        return np.asarray(self.gradients.any(axis=1) | (whole & alone))

    @cached_property
    def losses(self) -> NDArray[np.bool_]:
        """``[L]``, the loss is not finite."""
        return ~np.isfinite(self.readings.history.losses)

    @cached_property
    def skipped(self) -> frozenset[int]:
        """The steps that the gradient scaler left out."""
        events = self.readings.history.events
        return frozenset(event.step for event in events if event.what == "skipped")

    @cached_property
    def last_row(self) -> int | None:
        """The row from which on all are bad; None if the last is not, or was only left out."""
        row = _tail(self.rows)
        steps = self.readings.steps
        while row is not None and row < len(steps) and int(steps[row]) in self.skipped:
            row += 1
        return None if row is None or row == len(steps) else row

    @cached_property
    def last_loss(self) -> int | None:
        """The place from which on all losses are bad; None if the last is not."""
        return _tail(self.losses)

    def before(self, step: int | None) -> History:
        """Return what is to be judged: finite steps before the first that is not and stays so.

        Args:
            step: From when on nothing is finite; None for never.

        Returns:
            The history without all others.
        """
        history = self.readings.history
        rows, losses = ~self.rows, ~self.losses
        if step is not None:
            rows, losses = rows & (history.steps < step), losses & (history.loss_steps < step)
        return history if rows.all() and losses.all() else keep(history, rows, losses)


def keep(history: History, rows: NDArray[np.bool_], losses: NDArray[np.bool_]) -> History:
    """Leave recorded steps and losses out of a history.

    Args:
        history: The whole.
        rows: Which of the recorded steps stay.
        losses: Which of the losses stay.

    Returns:
        The rest.
    """

    def some(table: NDArray[Any]) -> NDArray[Any]:
        return table[rows] if len(table) == len(rows) else table

    by_row: dict[str, Any] = {name: some(getattr(history, name)) for name in _BY_ROW}
    return replace(
        history,
        **by_row,
        statistics={name: values[rows] for name, values in history.statistics.items()},
        loss_steps=history.loss_steps[losses],
        losses=history.losses[losses],
    )


def find_non_finite(found: NonFinite) -> Iterator[Finding]:
    """Find NaN and infinity in weights, outputs, gradients or the loss.

    What the watch saw when it happened (an event) says where it began. Without, the place is told
    from the statistics of gradients and weights as far as these tell it.

    Args:
        found: Which steps are not finite.

    Yields:
        What lasts until the end, as errors: of gradients, and of the loss if that was alone or
        earlier. What passed, as warnings, unless it came again and again.
    """
    lasting = _lasting(found)
    if lasting is not None:
        yield lasting
    yield from _lasting_losses(found, lasting)
    yield from _passing(found, lasting)
    yield from _passing_losses(found, lasting)


def _lasting(found: NonFinite) -> Finding | None:
    """Find gradients that are not finite until the end."""
    row = found.last_row
    event = _event_at_the_end(found, row)
    if event is not None:
        return _from_event(found, event, "")
    return None if row is None else _from_statistics(found, row, "")


def _event_at_the_end(found: NonFinite, row: int | None) -> Event | None:
    """Return the event from which on nothing was finite: the one before the last stretch."""
    history = found.readings.history
    events = [event for event in history.events if event.what == "non_finite"]
    if row is not None:
        first = int(history.steps[max(0, row - _NEAR)])
        events = [event for event in events if first <= event.step <= history.steps[row]]
        return events[0] if events else None
    # Nothing recorded after it may be finite; the loss of the step itself may be.
    good = [*history.steps[~found.rows][-1:], *history.loss_steps[~found.losses][-1:]]
    events = [event for event in events if all(event.step >= step for step in good)]
    return events[0] if events else None


def _lasting_losses(found: NonFinite, gradients: Finding | None) -> Iterator[Finding]:
    history, place = found.readings.history, found.last_loss
    if place is None:
        return
    step = int(history.loss_steps[place])
    alone = "; gradients were finite at the end" if gradients is None and len(history.steps) else ""
    if gradients is None or step < gradients.since_step:
        yield finding(
            "loss_non_finite",
            evidence=f"The loss of step {step} was {history.losses[place]:g}{alone}.",
            since_step=step,
        )


def _passing(found: NonFinite, lasting: Finding | None) -> Iterator[Finding]:
    """Find gradients that were not finite for some steps, besides those left out on purpose."""
    steps = found.readings.steps
    until = lasting.since_step if lasting is not None else np.inf
    left_out = np.isin(steps, list(found.skipped))
    rows = np.flatnonzero(found.rows & ~left_out & (steps < until))
    events = [
        event
        for event in found.readings.history.events
        if event.what == "non_finite" and event.step < until
    ]
    if not len(rows) and not events:
        return
    share = len(rows) / max(1, int((~left_out).sum()))
    more = " Numbers were finite again afterwards."
    if len(rows):
        told = were(len(rows), "recorded step")
        more = f" {told} not finite, of {len(steps)}; those after them were finite again."
    first = int(steps[rows[0]]) if len(rows) else np.inf
    each = (
        _from_event(found, events[0], more)
        if events and events[0].step <= first
        else _from_statistics(found, int(rows[0]), more)
    )
    last = int(steps[rows[-1]]) if len(rows) else each.since_step
    often = len(rows) >= _NEAR and share > _OFTEN
    yield replace(
        each,
        until_step=max(each.since_step, last),
        severity="error" if often else "warning",
        cause=each.cause if often else _PASSED,
    )


def _passing_losses(found: NonFinite, lasting: Finding | None) -> Iterator[Finding]:
    history = found.readings.history
    until = lasting.since_step if lasting is not None else np.inf
    bad = found.losses & (history.loss_steps < until)
    if found.last_loss is not None:
        bad[found.last_loss :] = False
    left_out = np.isin(history.loss_steps, list(found.skipped))
    places = np.flatnonzero(bad & ~left_out)
    if not len(places):
        return
    first = int(history.loss_steps[places[0]])
    often = len(places) >= _NEAR and bool(bad.mean() > _OFTEN)
    told = were(len(places), "loss", "losses")
    yield finding(
        "loss_non_finite",
        evidence=f"The loss of step {first} was {history.losses[places[0]]:g}. {told} not finite, "
        f"of {len(history.losses)}; those after them were finite again.",
        since_step=first,
        until_step=int(history.loss_steps[places[-1]]),
        severity="error" if often else "warning",
        cause=None if often else _PASSED,
    )


def _from_event(found: NonFinite, event: Event, more: str) -> Finding:
    history, place = found.readings.history, found.last_loss
    told = event.text.rstrip(".") or _WHERE.get(event.where, _WHERE["unknown"])
    snapshot = f"; {event.snapshot} reproduces it" if event.snapshot else ""
    loss = ""
    if not more and place is not None:
        loss = f"; the loss was not finite from step {int(history.loss_steps[place])} on"
    columns = [
        column
        for column, info in enumerate(history.parameters)
        if info.name == event.parameter or (event.parameter is None and info.module == event.module)
    ]
    known = place_of(history, columns) if columns else Place()
    return finding(
        "non_finite",
        evidence=f"{told}{loss}{snapshot}.{more}",
        since_step=event.step,
        place=replace(known, module=event.module or known.module, parameter=event.parameter),
    )


def _from_statistics(found: NonFinite, row: int, more: str) -> Finding:
    history, columns = found.readings.history, np.flatnonzero(found.gradients[row])
    if not len(columns):
        return finding(
            "non_finite",
            evidence="The norm of the gradient of the whole model was "
            f"{history.global_norm[row]:g}.{more}",
            since_step=int(history.steps[row]),
        )
    chosen, told = _where(found, row, columns)
    return finding(
        "non_finite",
        evidence=f"{told} were not finite.{more}",
        since_step=int(history.steps[row]),
        place=Place()
        if len(chosen) == len(history.parameters)
        else place_of(history, [int(column) for column in chosen]),
    )


def _where(found: NonFinite, row: int, columns: NDArray[np.int64]) -> tuple[NDArray[np.int64], str]:
    """Find the parameters in which something began, and what of them was not finite."""
    readings, history = found.readings, found.readings.history
    weights = ~np.isfinite(readings.read("weight_norm")) & history.present
    known = readings.has("weight_norm")
    broken = np.flatnonzero(weights[row]) if known else columns[:0]
    before = np.flatnonzero(weights[row - 1]) if known and row else columns[:0]
    counts = readings.read("num_nan")[row] + readings.read("num_inf")[row]
    numbers = int(counts[np.isfinite(counts) & (counts < 2.0**62)].sum())
    counted = f"{numbers:,} numbers in " if numbers else ""
    told = f"{counted}the gradients of {len(columns)} of {len(history.parameters)} parameters"
    if 0 < len(before) < len(history.parameters):
        return before, f"The weights were not finite before this step, and then {told}"
    if 0 < len(broken) < len(columns):
        return broken, f"The weights were not finite after this step, and {told}"
    if len(columns) < len(history.parameters):
        # The error comes from the loss: what it meets first on its way is the deepest.
        depths = np.array([history.parameters[column].depth for column in columns])
        columns = columns[depths == depths.max()]
    return columns, told[0].upper() + told[1:]


def _tail(bad: NDArray[np.bool_]) -> int | None:
    """Return the place from which on all hold; None if the last does not."""
    if not len(bad) or not bad[-1]:
        return None
    good = np.flatnonzero(~bad)
    return int(good[-1]) + 1 if len(good) else 0
