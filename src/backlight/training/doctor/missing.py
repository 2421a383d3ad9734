"""Parameters that do not learn: no gradient, frozen, or never moved by the optimizer."""

from collections.abc import Iterator, Sequence

import numpy as np

from backlight.training.doctor.findings import Finding, finding
from backlight.training.doctor.readings import Readings, place_of
from backlight.training.doctor.usage import rests
from backlight.training.log.history import ParameterInfo

_MANY = 3  # groups, above which they are told together


def find_missing(readings: Readings) -> Iterator[Finding]:
    """Find parameters that take no part in learning although their like does.

    Args:
        readings: What was recorded.

    Yields:
        A finding for each place.
    """
    if not len(readings.steps) or not any(info.numel for info in readings.history.parameters):
        return
    yield from _without_gradient(readings)
    yield from _frozen(readings)
    yield from _unmoved(readings)


def _without_gradient(readings: Readings) -> Iterator[Finding]:
    history = readings.history
    trainable = [place for place, info in enumerate(history.parameters) if _is_learning(info)]
    absent = ~history.present & np.any(history.present, axis=1, keepdims=True)
    longer_than_chance = {
        rest.column for rest in rests(readings, absent, history.present, trainable)
    }
    since: dict[int, list[int]] = {}
    for column in trainable:
        present = history.present[:, column]
        if present[-1] or not history.present[-1].any():
            continue
        row = int(np.flatnonzero(present)[-1]) + 1 if present.any() else 0
        if column in longer_than_chance or row == 0:
            since.setdefault(row, []).append(column)
    for row, columns in since.items():
        yield from _absent(readings, row, columns, trainable)


def _absent(
    readings: Readings, row: int, columns: Sequence[int], trainable: Sequence[int]
) -> Iterator[Finding]:
    infos = readings.history.parameters
    step = max(int(readings.steps[row]), min(infos[column].since for column in columns))
    deepest = max(infos[column].depth for column in columns)
    before = [column for column in trainable if infos[column].depth <= deepest]
    absent = set(columns)
    whole = sum(column in absent for column in before) == len(before)
    if whole and len({infos[column].module for column in columns}) > 1:
        last = [column for column in columns if infos[column].depth == deepest]
        block = [column for column in columns if infos[column].layer == infos[last[0]].layer]
        place = place_of(readings.history, block if infos[last[0]].layer is not None else last)
        yield finding(
            "cut_graph",
            evidence=f"None of the {len(columns)} parameters from the input up to "
            f"{infos[last[0]].module} has a gradient; the {len(trainable) - len(columns)} behind "
            "it have.",
            since_step=step,
            place=place,
        )
        return
    for group in _groups(readings, columns):
        names = {infos[column].name for column in group}
        siblings = _have_siblings(readings, group, absent)
        yield finding(
            "no_gradient",
            evidence=f"{len(names)} parameters that are to be trained have no gradient"
            + (", and the same ones of other blocks have one." if siblings else "."),
            since_step=step,
            place=place_of(readings.history, group),
            severity="error" if siblings or row > 0 else "warning",
            cause=None if siblings else "the module is not used for the loss, or is detached.",
        )


def _frozen(readings: Readings) -> Iterator[Finding]:
    infos = readings.history.parameters
    # To train only the last blocks is common; one that is frozen behind a trained one is not.
    odd = [
        column
        for family in readings.name_families
        for column in family
        if not (infos[column].trainable or infos[column].until)
        and any(_trains_before(infos[other], infos[column]) for other in family)
    ]
    for group in _groups(readings, odd):
        of = "layers" if infos[group[0]].layer is None else "blocks"
        yield finding(
            "frozen",
            evidence=f"{len(group)} parameters have requires_grad=False; the same ones of earlier "
            f"{of} are trained.",
            since_step=_frozen_since(readings, group),
            place=place_of(readings.history, group),
        )


def _trains_before(info: ParameterInfo, frozen: ParameterInfo) -> bool:
    """Whether a sibling of a frozen parameter is trained, closer to the input, and of its kind."""
    there = info.trainable and not info.until
    return there and info.depth < frozen.depth and info.kind == frozen.kind


def _frozen_since(readings: Readings, columns: Sequence[int]) -> int:
    """Return the first recorded step behind the last one at which any of them had a gradient."""
    rows = np.flatnonzero(readings.history.present[:, columns].any(axis=1))
    row = int(rows[-1]) + 1 if len(rows) else 0
    return int(readings.steps[min(row, len(readings.steps) - 1)])


def _unmoved(readings: Readings) -> Iterator[Finding]:
    history, infos = readings.history, readings.history.parameters
    ratios, norms = readings.read("update_ratio"), readings.read("norm")
    still = (ratios == 0) & history.present & (norms > 0)
    others = (ratios > 0).any(axis=1)
    rows = np.flatnonzero(others)
    if len(rows) < 2:
        return
    columns = [
        column
        for column in range(len(infos))
        if _is_learning(infos[column])
        and np.count_nonzero(later := readings.steps[rows] >= infos[column].since) >= 2
        and still[rows[later], column].all()
    ]
    matrices = set(readings.matrices)
    rounded = not any(column in matrices for column in columns)
    for group in _groups(readings, columns):
        start = max(infos[column].since for column in group)
        since = [int(step) for step in readings.steps[rows] if step >= start]
        yield finding(
            "rounded_away" if rounded else "never_moves",
            evidence=f"{len(group)} parameters had a gradient and an update of exactly zero at "
            f"all {len(since)} recorded steps at which others moved.",
            since_step=since[0],
            place=place_of(history, group),
        )


def _is_learning(info: ParameterInfo) -> bool:
    """Check whether a parameter is there, is to be trained, and is the watched optimizer's."""
    return info.trainable and not info.elsewhere and not info.until


def _groups(readings: Readings, columns: Sequence[int]) -> list[list[int]]:
    groups = readings.by_block(columns)
    return groups if len(groups) <= _MANY else [list(columns)]


def _have_siblings(readings: Readings, columns: Sequence[int], besides: set[int]) -> bool:
    return any(
        column in family and any(other not in besides for other in family)
        for column in columns
        for family in readings.name_families
    )
