"""The norm of the whole gradient, the loss and the size of updates over a training's steps."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from backlight.report.page.views import LineChart, Lines, Scale, Series
from backlight.training.doctor.findings import Diagnosis
from backlight.training.log.history import History
from backlight.training.showing.thinning import drawable, extremes, marks, spread

MOST_POINTS = 2000
"""Points of one line at most; of more, those that stand out are shown."""

USUAL = 1e-3
"""What an update-to-weight ratio is often told to be."""

_WIDE = 5.0  # times, beyond which an axis is logarithmic
_MOST_BROKEN = 90  # marks of steps that are NaN or infinite
_STEP = "optimizer step"


@dataclass(frozen=True, slots=True, kw_only=True)
class _Course:
    """One number at some steps.

    Attributes:
        name: What a legend calls it.
        steps: The steps.
        values: The numbers; NaN or infinite where they are broken.
    """

    name: str
    steps: NDArray[np.int64]
    values: NDArray[np.float64]


def course(history: History, diagnosis: Diagnosis) -> Iterator[Lines]:
    """Show the norm of the whole gradient and the loss, and how far steps moved the weights.

    Args:
        history: What was recorded.
        diagnosis: Whose findings are marked.

    Yields:
        One view, none if nothing was recorded.
    """
    steps = np.concatenate([history.steps, history.loss_steps])
    if not len(steps):
        return
    begun = marks(diagnosis, steps)
    charts: list[LineChart] = []
    if len(history.steps):
        charts.append(_chart("gradient norm", _norms(history), begun, widest=_WIDE))
    if len(history.loss_steps):
        loss = _Course(name="", steps=history.loss_steps, values=drawable(history.losses))
        charts.append(_chart("loss", [loss], begun, widest=6 * _WIDE))
    ratios = _updates(history, begun)
    note = " ".join([*_notes(history, begun, has_updates=ratios is not None), *_thinned(history)])
    charts += [] if ratios is None else [ratios]
    yield Lines(title="What was recorded", note=note, charts=charts)


def _notes(history: History, begun: Mapping[int, str], *, has_updates: bool) -> Iterator[str]:
    loss = " and loss." if len(history.loss_steps) else "; no loss was seen."
    yield f"Norm of the whole gradient{loss}" if len(history.steps) else "Loss."
    if has_updates:
        yield (
            "Update / weight is how far a step moved the weights, as a share of their norm: the "
            "median of the matrices, and the band from the smallest to the largest. About "
            f"{USUAL:g} is usual for large models, more at the start and in small ones."
        )
    if begun:
        yield "Upright lines: where findings begin."


def _thinned(history: History) -> Iterator[str]:
    longest = max(len(history.steps), len(history.loss_steps))
    if longest > MOST_POINTS:
        yield (
            f"There are {longest:,} steps, more than a page can show: of each of "
            f"{MOST_POINTS // 2 - 1:,} equal stretches the smallest and the largest value is drawn."
        )


def _norms(history: History) -> list[_Course]:
    raw, used = drawable(history.global_norm), drawable(history.clipped_norm)
    known = np.isfinite(raw) & np.isfinite(used)
    if not (used[known] < 0.999 * raw[known]).any():
        return [_Course(name="", steps=history.steps, values=raw)]
    clipped = np.where(np.isfinite(used), used, np.nan)  # what is not used is not broken
    return [
        _Course(name="before clipping", steps=history.steps, values=raw),
        _Course(name="as used", steps=history.steps, values=clipped),
    ]


def _chart(
    label: str, courses: Sequence[_Course], begun: Mapping[int, str], *, widest: float
) -> LineChart:
    values = np.concatenate([each.values[np.isfinite(each.values)] for each in courses])
    scale = _scale(values, widest)
    shown = values[values > 0] if scale == "log" else values
    high = float(shown.max()) if len(shown) else 1.0
    series = [_line(each, begun) for each in courses]
    return LineChart(
        x=_STEP,
        y=label,
        series=[*series, *_broken(courses[0], high)],
        scales=("linear", scale),
        marks=_marked(begun),
    )


def _scale(values: NDArray[np.float64], widest: float) -> Scale:
    """Choose a logarithmic scale for values that differ by more than so many times."""
    above = values[values > 0]
    return "log" if len(above) and above.max() / above.min() > widest else "linear"


def _line(course: _Course, begun: Mapping[int, str]) -> Series:
    values = np.where(np.isfinite(course.values), course.values, np.nan)
    kept = np.flatnonzero(np.isin(course.steps, list(begun)))
    places = np.union1d(extremes(values, most=MOST_POINTS), kept)
    steps = course.steps[places].astype(np.float64)
    return Series(name=course.name, x=steps, y=values[places])


def _broken(course: _Course, height: float) -> Iterator[Series]:
    """Stand where a course is NaN or infinite as points at the upper edge."""
    steps = course.steps[~np.isfinite(course.values)]
    if len(steps):
        steps = steps[spread(len(steps), most=_MOST_BROKEN)]
        heights = np.full(len(steps), height)
        yield Series(name="NaN or infinite", x=steps.astype(np.float64), y=heights, joined=False)


def _marked(begun: Mapping[int, str]) -> dict[str, float]:
    return {f"{name}: step {step}": float(step) for step, name in begun.items()}


def _updates(history: History, begun: Mapping[int, str]) -> LineChart | None:
    """Show the median of the update-to-weight ratio of matrices, and its range."""
    ratios = update_ratios(history)
    if ratios is None:
        return None
    known = np.isfinite(ratios) & (ratios > 0)
    rows = known.any(axis=1)
    if not rows.any():
        return None
    steps, masked = history.steps[rows], np.ma.masked_array(ratios[rows], ~known[rows])
    median = np.ma.filled(np.ma.median(masked, axis=1), np.nan)
    low, high = masked.min(axis=1).filled(np.nan), masked.max(axis=1).filled(np.nan)
    kept = np.flatnonzero(np.isin(steps, list(begun)))
    places = np.union1d(extremes(median, most=MOST_POINTS), kept)
    line = Series(
        name="median of matrices",
        x=steps[places].astype(np.float64),
        y=median[places],
        low=low[places],
        high=high[places],
    )
    return LineChart(
        x=_STEP,
        y="update / weight",
        series=[line],
        scales=("linear", "log"),
        levels={f"{USUAL:g}, usual for large models": USUAL},
        marks=_marked(begun),
    )


def matrices(history: History) -> list[int]:
    """List which parameters are matrices, from the input to the loss."""
    places = [place for place, info in enumerate(history.parameters) if len(info.shape) >= 2]
    return sorted(places, key=lambda place: history.parameters[place].depth)


def update_ratios(history: History) -> NDArray[np.float64] | None:
    """Return the update-to-weight ratios of matrices, ``[steps, matrices]``; None if unknown."""
    ratios, columns = history.statistics.get("update_ratio"), matrices(history)
    if ratios is None or not columns or not len(history.steps):
        return None
    return drawable(ratios[:, columns])
