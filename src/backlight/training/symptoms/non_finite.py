"""NaN and infinity: where they came from, if that is known, and when."""

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from backlight.training.history.history import Event
from backlight.training.symptoms.catalogue import finding
from backlight.training.symptoms.findings import Finding, Place
from backlight.training.symptoms.readings import Readings, place_of

__all__ = ["find_non_finite"]

_WHERE = {
    "weight": "The weights themselves were not finite",
    "forward": "It is the first module with finite inputs and an output that is not",
    "backward": "It is the first module on the way back whose gradient is not finite",
    "unknown": "Where it began is not known",
}


def find_non_finite(readings: Readings) -> Iterator[Finding]:
    """Find the first step with NaN or infinity in weights, outputs, gradients or the loss.

    What the watch saw when it happened (an event) says where it began. Without, the place is told
    from the statistics of gradients and weights as far as these tell it.

    Args:
        readings: What was recorded.

    Yields:
        One finding for the first occurrence; another if the loss alone was not finite before.
    """
    events = [event for event in readings.history.events if event.what == "non_finite"]
    bad = _bad_gradients(readings)
    row = _first(_some(bad))
    loss = _first(~np.isfinite(readings.history.losses))
    loss_step = None if loss is None else int(readings.history.loss_steps[loss])
    found = None
    if events:
        found = _from_event(readings, events[0], loss_step)
    elif row is not None:
        found = _from_statistics(readings, bad, row)
    else:
        row = _first(~np.isfinite(readings.history.global_norm))
        if row is not None:
            found = finding(
                "non_finite",
                evidence="The norm of the gradient of the whole model was "
                f"{readings.history.global_norm[row]:g}.",
                since_step=int(readings.steps[row]),
                until_step=_until(readings, ~np.isfinite(readings.history.global_norm), row),
            )
    if found is not None:
        yield found
    if loss_step is not None and (found is None or loss_step < found.since_step):
        yield finding(
            "loss_non_finite",
            evidence=f"The loss of step {loss_step} was {readings.history.losses[loss or 0]:g}"
            + ("; gradients were finite at all recorded steps." if found is None else "."),
            since_step=loss_step,
            until_step=_loss_until(readings),
        )


def _from_event(readings: Readings, event: Event, loss_step: int | None) -> Finding:
    history = readings.history
    told = event.text.rstrip(".") or _WHERE.get(event.where, _WHERE["unknown"])
    snapshot = f"; {event.snapshot} reproduces it" if event.snapshot else ""
    loss = f"; the loss was not finite from step {loss_step} on" if loss_step is not None else ""
    columns = [
        column
        for column, info in enumerate(history.parameters)
        if info.name == event.parameter or (event.parameter is None and info.module == event.module)
    ]
    known = place_of(history, columns) if columns else None
    place = Place(
        module=event.module or (known.module if known else ""),
        parameter=event.parameter,
        layer=known.layer if known else None,
        depth=known.depth if known else None,
    )
    bad = _some(_bad_gradients(readings))
    after = bad & (readings.steps >= event.step)
    ended = len(bad) > 0 and readings.steps[-1] > event.step and not bad[-1]
    last = int(readings.steps[after][-1]) if ended and after.any() else event.step
    return finding(
        "non_finite",
        evidence=f"{told}{loss}{snapshot}.",
        since_step=event.step,
        until_step=last if ended else None,
        place=place,
    )


def _from_statistics(readings: Readings, bad: NDArray[np.bool_], row: int) -> Finding:
    history = readings.history
    columns = np.flatnonzero(bad[row])
    weights = readings.read("weight_norm")
    broken = np.flatnonzero(~np.isfinite(weights[row]) & history.present[row])
    before = (
        np.flatnonzero(~np.isfinite(weights[row - 1]) & history.present[row - 1])
        if row and readings.has("weight_norm")
        else np.empty(0, dtype=np.int64)
    )
    numbers = int(np.nansum(readings.read("num_nan")[row] + readings.read("num_inf")[row]))
    counted = f"{numbers:,} numbers in " if numbers else ""
    told = f"{counted}the gradients of {len(columns)} of {len(history.parameters)} parameters"
    if 0 < len(before) < len(history.parameters):
        columns, told = before, f"The weights were not finite before this step, and then {told}"
    elif 0 < len(broken) < len(columns):
        columns, told = broken, f"The weights were not finite after this step, and {told}"
    else:
        told = told[0].upper() + told[1:]
        if len(columns) < len(history.parameters):
            # The error comes from the loss: what it meets first on its way is the deepest.
            deepest = max(history.parameters[column].depth for column in columns)
            columns = [column for column in columns if history.parameters[column].depth == deepest]
    return finding(
        "non_finite",
        evidence=f"{told} were not finite.",
        since_step=int(readings.steps[row]),
        until_step=_until(readings, _some(bad), row),
        place=Place()
        if len(columns) == len(history.parameters)
        else place_of(history, [int(column) for column in columns]),
    )


def _bad_gradients(readings: Readings) -> NDArray[np.bool_]:
    history = readings.history
    counts = np.nan_to_num(readings.read("num_nan")) + np.nan_to_num(readings.read("num_inf"))
    return history.present & ((counts > 0) | ~np.isfinite(readings.read("norm")))


def _until(readings: Readings, bad: NDArray[np.bool_], row: int) -> int | None:
    if bad[-1]:
        return None
    good = np.flatnonzero(~bad[row:])
    return int(readings.steps[row + good[0] - 1])


def _loss_until(readings: Readings) -> int | None:
    bad = np.flatnonzero(~np.isfinite(readings.history.losses))
    last = int(bad[-1])
    return (
        None if last == len(readings.history.losses) - 1 else int(readings.history.loss_steps[last])
    )


def _some(bad: NDArray[np.bool_]) -> NDArray[np.bool_]:
    return np.asarray(bad.any(axis=1))


def _first(holds: NDArray[np.bool_]) -> int | None:
    places = np.flatnonzero(holds)
    return int(places[0]) if len(places) else None
