"""Pictures of a training run: norm and loss over steps, and blocks by steps as colours."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import ListedColormap
from matplotlib.figure import Figure
from numpy.typing import NDArray

from backlight.report.colours import SEQUENTIAL, of_sizes
from backlight.report.layout import panels_in
from backlight.report.lines import finish
from backlight.report.maps import name_ticks
from backlight.report.scales import make_logarithmic
from backlight.tables import Table

_COLOURS = {"error": "#c53030", "warning": "#b7791f"}
_WIDTH = 9.5
_DECADES = 8  # below the largest value, which one scale shows
_WIDE = 5.0  # times, beyond which an axis is logarithmic
_USUAL = 1e-3  # what an update-to-weight ratio is often told to be
_ROW = 0.19  # inches from one name of a row to the next
_STEPS = 400  # the most columns of a grid: more are thinned out


@dataclass(frozen=True, slots=True, kw_only=True)
class Mark:
    """Where a finding begins.

    Attributes:
        step: The step.
        number: The number of the finding.
        severity: ``error`` or ``warning``.
    """

    step: int
    number: int
    severity: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Grid:
    """A quantity for some places at the recorded steps.

    Attributes:
        names: The places, from the input to the loss.
        steps: ``[T]``.
        values: ``[T, places]``; NaN where there is none, infinite or not.
    """

    names: Sequence[str]
    steps: NDArray[np.int64]
    values: NDArray[np.float64]


@dataclass(frozen=True, slots=True, kw_only=True)
class DoctorReport:
    """What the pictures of a diagnosis show.

    Attributes:
        norms: Columns ``step``, ``norm`` and ``clipped_norm``.
        losses: Columns ``step`` and ``loss``; no rows if none was seen.
        gradients: Norms by block or module.
        updates: Update-to-weight ratios by block or module; None if unknown.
        marks: Where findings begin.
    """

    norms: Table
    losses: Table
    gradients: Grid
    updates: Grid | None
    marks: Sequence[Mark]


def draw_doctor(report: DoctorReport) -> Iterator[tuple[str, str, Figure]]:
    """Draw everything there is to show.

    Args:
        report: What to draw.

    Yields:
        The name, the caption and the figure of each picture.
    """
    if report.norms.num_rows or report.losses.num_rows:
        yield "course", _course_caption(report), _draw_course(report)
    if report.gradients.names and len(report.gradients.steps):
        caption = (
            "Norm of the gradient by place and step; the input is at the bottom, the loss at the "
            "top. Red: NaN or infinite; white: no gradient; grey: exactly zero."
        )
        yield "gradients", caption, _draw_grid(report.gradients, "gradient norm", report.marks)
    if report.updates is not None and np.isfinite(report.updates.values).any():
        caption = (
            "How far a step moved the weights, as a share of their norm: each matrix, from the "
            "input (blue) to the loss (orange), and in black the median. About "
            f"{_USUAL:g} is usual for large models, more at the start and in small ones."
        )
        yield "updates", caption, _draw_updates(report.updates, report.marks)


def _draw_course(report: DoctorReport) -> Figure:
    count = (report.losses.num_rows > 0) + (report.norms.num_rows > 0)
    figure = Figure(figsize=(_WIDTH, 0.8 + 2 * count), layout="constrained")
    panels = panels_in(figure, count, 1, sharex=True)
    if report.norms.num_rows:
        _draw_curve(panels[0], report.norms, "norm", colour="#2b6cb0", label="before clipping")
        if _is_clipped(report.norms):
            _draw_curve(panels[0], report.norms, "clipped_norm", colour="#dd8b2f", label="as used")
        _choose_scale(panels[0], report.norms["norm"], widest=_WIDE)
        panels[0].set_ylabel("gradient norm")
    if report.losses.num_rows:
        _draw_curve(panels[-1], report.losses, "loss", colour="#2f855a", label="loss")
        _choose_scale(panels[-1], report.losses["loss"], widest=6 * _WIDE)
        panels[-1].set_ylabel("loss")
    for axes in panels:
        if len(axes.lines) > 1:
            axes.legend(frameon=False, fontsize=8, loc="best")
        _mark(axes, report.marks)
        finish(axes, y=axes.get_ylabel(), x="optimizer step" if axes is panels[-1] else "")
    return figure


def _draw_curve(axes: Axes, table: Table, column: str, *, colour: str, label: str) -> None:
    """Draw a column over steps; where it is NaN or infinite, crosses stand at the upper edge."""
    steps, values = table["step"], table[column]
    finite = np.isfinite(values)
    shown = np.where(finite, values, np.nan)
    marker = "o" if finite.sum() < 40 else None
    axes.plot(steps, shown, color=colour, linewidth=1.1, marker=marker, markersize=3, label=label)
    if column != "clipped_norm" and not finite.all():
        broken = steps[~finite]
        cross: dict[str, Any] = {"color": _COLOURS["error"], "markersize": 4}
        cross |= {"transform": axes.get_xaxis_transform(), "label": "NaN or infinite"}
        axes.plot(broken, np.full(len(broken), 0.97), "x", **cross)


def _choose_scale(axes: Axes, values: NDArray[np.float64], *, widest: float) -> None:
    """Choose a logarithmic scale for values that differ by more than so many times."""
    usable = values[np.isfinite(values) & (values > 0)]
    if len(usable) and usable.max() / usable.min() > widest:
        make_logarithmic(axes)


def _draw_grid(grid: Grid, label: str, marks: Sequence[Mark]) -> Figure:
    stride = max(1, -(-len(grid.steps) // _STEPS))
    steps, cells = grid.steps[::stride], grid.values[::stride].T
    height = 1.4 + 0.19 * min(len(grid.names), 60)
    figure = Figure(figsize=(_WIDTH, height), layout="constrained")
    axes = figure.subplots()
    edges = (_edges(steps), np.arange(len(grid.names) + 1) - 0.5)
    norm = of_sizes(cells, decades=_DECADES)
    if norm is not None:
        shown = np.ma.masked_array(cells, ~(np.isfinite(cells) & (cells > 0)))
        mesh = axes.pcolormesh(*edges, shown, norm=norm, cmap=SEQUENTIAL, rasterized=True)
        figure.colorbar(mesh, ax=axes, label=label, pad=0.015)
    for where, colour in ((cells == 0, "#b5bcc7"), (np.isposinf(cells), _COLOURS["error"])):
        if where.any():
            flat = np.ma.masked_array(np.ones(cells.shape), ~where)
            axes.pcolormesh(*edges, flat, cmap=ListedColormap([colour]), rasterized=True)
    name_ticks(axes.yaxis, grid.names, apart=_ROW, fontsize=7)
    axes.set(xlabel="optimizer step", xlim=edges[0][[0, -1]])
    _mark(axes, marks, on_colours=True)
    return figure


def _draw_updates(grid: Grid, marks: Sequence[Mark]) -> Figure:
    figure = Figure(figsize=(_WIDTH, 3.2), layout="constrained")
    axes = figure.subplots()
    values = np.where(np.isfinite(grid.values) & (grid.values > 0), grid.values, np.nan)
    for place, shade in enumerate(np.linspace(0, 1, values.shape[1])):
        colour = (0.2 + 0.6 * shade, 0.45, 0.75 - 0.5 * shade)
        axes.plot(grid.steps, values[:, place], color=colour, linewidth=0.7, alpha=0.55)
    known = np.isfinite(values).any(axis=1)
    middle = np.ma.filled(np.ma.median(np.ma.masked_invalid(values[known]), axis=1), np.nan)
    axes.plot(grid.steps[known], middle, color="black", linewidth=1.4)
    axes.axhline(_USUAL, color="grey", linewidth=0.8, linestyle="--")
    shown = np.append(values[np.isfinite(values)], _USUAL)
    axes.set_ylim(float(shown.min()) / 2, float(shown.max()) * 2)
    axes.set_yscale("log")
    finish(axes, y="update / weight", x="optimizer step")
    axes.set_xlim(*_edges(grid.steps)[[0, -1]])
    _mark(axes, marks)
    return figure


def _mark(axes: Axes, marks: Sequence[Mark], *, on_colours: bool = False) -> None:
    """Draw a line where each finding begins; findings of one step share a line and a label."""
    for step in sorted({mark.step for mark in marks}):
        here = [mark for mark in marks if mark.step == step]
        severity = min(mark.severity for mark in here)  # errors come first
        axes.axvline(
            step,
            color="white" if on_colours else _COLOURS[severity],
            linewidth=1.6 if on_colours else 1.0,
            linestyle="--" if on_colours else ":",
        )
        numbers, above = ", ".join(str(mark.number) for mark in here), axes.get_xaxis_transform()
        axes.text(
            step, 1.02, numbers, transform=above, ha="center", fontsize=8, color=_COLOURS[severity]
        )


def _edges(steps: NDArray[np.int64]) -> NDArray[np.float64]:
    """Put the borders of cells half way between steps."""
    if len(steps) == 1:
        return steps[0] + np.array([-0.5, 0.5])
    middles = (steps[1:] + steps[:-1]) / 2
    ends = 2 * steps[[0, -1]] - middles[[0, -1]]
    return np.concatenate([ends[:1], middles, ends[1:]])


def _is_clipped(norms: Table) -> bool:
    raw, used = norms["norm"], norms["clipped_norm"]
    known = np.isfinite(raw) & np.isfinite(used)
    return bool((used[known] < 0.999 * raw[known]).any())


def _course_caption(report: DoctorReport) -> str:
    loss = " and loss" if report.losses.num_rows else "; no loss was seen"
    numbers = " Dotted lines and numbers: where findings begin." if report.marks else ""
    return f"Norm of the whole gradient{loss}.{numbers}"
