"""The gradient from layer to layer: vanishing or exploding along depth, or in one layer."""

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from backlight.foreign.text import brief
from backlight.training.doctor.findings import Finding, finding
from backlight.training.doctor.readings import Readings, grouped, place_of
from backlight.training.doctor.robust import first_stretch, middle, slope

_RATIO = 100.0  # between the ends of the model
_PER_LAYER = 1.3  # deep models may lose less than this at each layer and still learn
_APART = np.log(50.0)  # one layer against its siblings
_FIRST, _FIRST_APART = 5, np.log(4.0)  # the same in the first recorded steps ...
_ALIKE = np.log(1.3)  # ... if weights are as large as their siblings'
_BEYOND = np.log(2.5)  # what a trend over depth must leave unexplained
_EARLY_RATIO = 30.0  # as _RATIO, for what fades right after the first steps
_EARLY = 100  # steps, in which a missing warm-up shows
_TINY, _HUGE, _LARGE = 1e-6, 1e6, 100.0  # norms of the whole gradient


def growth_per_layer(readings: Readings) -> tuple[NDArray[np.float64], int]:
    """Measure by which factor gradient norms grow per layer on their way to the input.

    Each family of siblings has its own slope of the logarithm over layers, so that attention, MLP
    and norms are compared with their own kind only; the median over families counts.

    Args:
        readings: What was recorded.

    Returns:
        ``[T]`` factors, above 1 if the gradient grows on its way back, NaN if there are no
        families; and how many layers apart the first and the last member are.
    """
    # A slope of logarithms is a factor per layer. It is measured from the input on, and the
    # gradient goes the other way: hence the minus.
    families = readings.chains
    slopes = np.full((len(readings.steps), len(families)), np.nan)
    extent = 0
    for place, family in enumerate(families):
        layers = _layers(readings, family)
        slopes[:, place] = slope(layers, readings.gradients[:, list(family)])
        extent = max(extent, int(layers.max() - layers.min()))
    return np.exp(-middle(slopes, axis=1)), extent


def find_by_depth(readings: Readings) -> Iterator[Finding]:
    """Find gradients that vanish or explode towards the input, and layers that stand out.

    Args:
        readings: What was recorded.

    Yields:
        Findings about the whole model, then about single blocks.
    """
    if not len(readings.steps):
        return
    yield from _along(readings)
    yield from _apart(readings)
    yield from _absolute(readings)


def _along(readings: Readings) -> Iterator[Finding]:
    growth, extent = growth_per_layer(readings)
    total = growth**extent
    fades = 1 / growth > _PER_LAYER
    early = first_stretch(fades & (1 / total > _EARLY_RATIO))
    if early is not None and _fades_at_first(readings, growth, early[0]):
        full = (
            f"; {growth[0]:.3g} per layer at step {int(readings.steps[0])}, when the learning rate "
            "already had its full height"
        )
        yield _trend(readings, "no_warm_up", growth, extent, early, full)
    vanishing = first_stretch(fades & (1 / total > _RATIO))
    exploding = first_stretch((growth > _PER_LAYER) & (total > _RATIO))
    if vanishing is not None:
        yield _trend(readings, "vanishing_with_depth", growth, extent, vanishing)
    if exploding is not None:
        yield _trend(readings, "exploding_with_depth", growth, extent, exploding)


def _trend(
    readings: Readings,
    name: str,
    growth: NDArray[np.float64],
    extent: int,
    stretch: tuple[int, int],
    more: str = "",
) -> Finding:
    start, end = stretch
    return finding(
        name,
        evidence=f"Walking back from the last layer to the first, norms change by a factor of "
        f"{growth[start]:.3g} per layer, {growth[start] ** extent:.2g} over {extent + 1} layers "
        f"(median over {len(readings.chains)} kinds of matrices){more}.",
        since_step=int(readings.steps[start]),
        until_step=readings.until(end),
    )


def _fades_at_first(readings: Readings, growth: NDArray[np.float64], start: int) -> bool:
    """Check whether the gradient begins to vanish right after large first steps."""
    rates = readings.history.learning_rates
    if start == 0 or not rates.size or int(readings.steps[start]) > _EARLY:
        return False
    highest = np.fmax.reduce(rates[: start + 1], axis=1)
    return bool(1 / growth[0] < _PER_LAYER and highest[0] >= 0.9 * highest.max() > 0)


def _apart(readings: Readings) -> Iterator[Finding]:
    """Find blocks that stand out; at the start, siblings are alike, and less is enough."""
    apart = _beyond_trend(readings)
    at_first = _first_apart(readings, apart)
    for sign, name in ((1, "layer_gradient_large"), (-1, "layer_gradient_small")):
        starts = _later_apart(readings, sign * apart)
        branches = at_first[sign]
        told = {column for branch in branches for column in branch}
        later = [column for column in starts if column not in told]
        starts |= dict.fromkeys(told, (0, len(readings.steps) - 1))
        for group in [*branches, *readings.by_block(later)]:
            start = min(starts[column][0] for column in group)
            end = max(starts[column][1] for column in group)
            factor = float(np.exp(sign * middle(apart[start : start + 3, group])))
            names = " and ".join(
                brief(readings.history.parameters[column].name) for column in group[:3]
            )
            yield finding(
                name,
                evidence=f"The gradient of {names} is {factor:.3g} times "
                f"{'larger' if sign > 0 else 'smaller'} than that of the same matrices in the "
                "blocks around it"
                + (", though their weights are alike." if group in branches else "."),
                since_step=int(readings.steps[start]),
                until_step=readings.until(end),
                place=place_of(readings.history, group),
            )


def _later_apart(readings: Readings, apart: NDArray[np.float64]) -> dict[int, tuple[int, int]]:
    """Find branches whose matrices all stand out at any time: one alone may, when it learns."""
    found: dict[int, tuple[int, int]] = {}
    for columns in _branches(readings).values():
        stretch = first_stretch((apart[:, columns] > _APART).all(axis=1), least=5)
        if stretch is not None:
            found |= dict.fromkeys(columns, stretch)
    return found


def _branches(readings: Readings) -> dict[str, list[int]]:
    """Group matrices by the module that holds their modules: attention, or an MLP."""
    infos = readings.history.parameters
    columns = sorted({column for family in readings.families for column in family})
    return grouped(columns, lambda column: infos[column].module.rpartition(".")[0])


def _beyond_trend(readings: Readings) -> NDArray[np.float64]:
    """Compare with siblings, where the trend over depth does not account for the difference."""
    apart = readings.against_siblings(readings.gradients)
    beyond = readings.against_trend(readings.gradients)
    return np.where((np.sign(apart) == np.sign(beyond)) & (np.abs(beyond) > _BEYOND), apart, 0.0)


def _first_apart(readings: Readings, apart: NDArray[np.float64]) -> dict[int, list[list[int]]]:
    """Find branches whose gradients stand out from the first steps on, the most striking first."""
    if not readings.course.starts_unlearned:  # what has learned is not alike any more
        return {1: [], -1: []}
    infos = readings.history.parameters
    weights = readings.against_siblings(readings.weights)[:1]
    alike = {
        branch: [column for column in columns if abs(weights[0, column]) < _ALIKE]
        for branch, columns in _branches(readings).items()
        if infos[columns[0]].layer is not None
    }
    branches = {branch: columns for branch, columns in alike.items() if columns}
    found: dict[int, list[list[int]]] = {}
    for sign in (1, -1):
        sizes = {
            branch: (sign * apart[:_FIRST, columns]).min(axis=1)
            for branch, columns in branches.items()
        }
        striking = {
            branch: float(middle(size))
            for branch, size in sizes.items()
            if len(size) >= _FIRST and (size > _FIRST_APART).mean() > 0.5
        }
        ordered = sorted(striking, key=lambda branch: -striking[branch])
        found[sign] = [branches[branch] for branch in ordered]
    return found


def _absolute(readings: Readings) -> Iterator[Finding]:
    norm = readings.history.global_norm
    yield from _tiny(readings, norm)
    # A loss that is a sum has a gradient of its size, which Adam and clipping do not mind.
    huge = norm > _HUGE * np.fmax(1.0, np.abs(readings.losses))
    kinds = (
        ("gradient_huge", huge, f"above {_HUGE:g}"),
        ("gradient_large", (norm > _LARGE) & ~huge, f"above {_LARGE:g}"),
    )
    for name, holds, told in kinds:
        stretch = first_stretch(holds)
        if stretch is not None:
            start, end = stretch
            yield finding(
                name,
                evidence=f"The norm of the whole gradient is {norm[start]:.2g}, {told}.",
                since_step=int(readings.steps[start]),
                until_step=readings.until(end),
            )


def _tiny(readings: Readings, norm: NDArray[np.float64]) -> Iterator[Finding]:
    """Find gradients of next to nothing, where they are not the end of learning."""
    tiny, rows = norm < _TINY, np.arange(len(norm))
    lasting = tiny & (rows > np.max(np.flatnonzero(~tiny), initial=-1))
    # Batches without anything to learn from, as all rewards alike, have no gradient.
    stretch = first_stretch(lasting) or first_stretch(tiny & (norm > 0))
    if stretch is None:
        return
    start, end = stretch
    until, course = readings.until(end), readings.course
    # With a gradient of zero no loss falls: then it is another number that was logged.
    other = course.has_fallen and not norm[start : end + 1].any()
    excused = other or course.is_learned or bool(readings.nothing_left[start : end + 1].all())
    yield finding(
        "gradient_tiny",
        evidence=f"The norm of the whole gradient is {norm[start]:.2g}, below {_TINY:g}"
        + ("; the loss has fallen all the same." if excused else "."),
        since_step=int(readings.steps[start]),
        until_step=until,
        severity="warning" if excused or until is not None else None,
        cause="all is learned, or the number that was logged is not the norm of the gradient."
        if excused
        else None,
    )


def _layers(readings: Readings, family: tuple[int, ...]) -> NDArray[np.float64]:
    """Return where the members of a family lie: their blocks, or one after another."""
    infos = [readings.history.parameters[column] for column in family]
    layers = [info.layer for info in infos if info.layer is not None and info.numel]
    if len(layers) == len(infos) and len(set(layers)) > 1:
        return np.array(layers, dtype=np.float64)
    return np.arange(len(infos), dtype=np.float64)
