"""Panels of lines and points, drawn as a ``Plot`` says."""

from collections.abc import Iterator, Mapping
from functools import partial
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, MaxNLocator, NullFormatter, StrMethodFormatter

from backlight.report.colours import shades
from backlight.report.drawing import Drawing
from backlight.report.layout import figure_with_text, panels_in
from backlight.report.plots import (
    Panel,
    Plot,
    dodge,
    places_of,
    plots_from_json,
    rows_of,
    series_of,
)
from backlight.runs.results import Results
from backlight.tables import Column, Table

_WIDTH, _HEIGHT = 5.6, 3.8
_MANY_LABELS = 6
_MANY_POINTS = 40  # above which lines have no marks
_FEW_DECADES, _NARROW = 2.0, 0.7  # a narrow logarithmic axis may not even have a 1, a 2 and a 5


def draw(results: Results) -> Iterator[Drawing]:
    """List the figures that a run declares in its metadata.

    Args:
        results: The run, carried out just now or read from disk.

    Yields:
        The figures, not yet drawn.
    """
    for plot in plots_from_json(results.metadata["plots"]):
        yield Drawing(name=f"{plot.name}.png", make=partial(draw_plot, plot, results.tables))


def draw_plot(plot: Plot, tables: Mapping[str, Table]) -> Figure:
    """Draw a figure from tables.

    Args:
        plot: What is to be drawn.
        tables: The tables, by name.

    Returns:
        The figure.
    """
    columns = min(plot.columns, len(plot.panels))
    height = _HEIGHT * -(-len(plot.panels) // columns)
    figure = figure_with_text(_WIDTH * columns, height, title=plot.title)
    panels = panels_in(figure, len(plot.panels), columns)
    for axes, panel in zip(panels, plot.panels, strict=True):
        _draw_panel(axes, panel, tables[panel.table])
    return figure


def _draw_panel(axes: Axes, panel: Panel, table: Table) -> None:
    table = rows_of(panel, table)
    x, names = places_of(panel, table)
    series = series_of(panel, table)
    colours = _colours(panel, table, len(series))
    for number, (label, rows) in enumerate(series.items()):
        shift = dodge(number, len(series)) if names else 0.0
        _draw_series(axes, panel, table.select(rows), x[rows] + shift, label, colours[number])
    for number, (label, height) in enumerate(panel.levels.items()):
        style = (":", "-.", "--")[number % 3]
        axes.axhline(height, color="#444444", linewidth=1, linestyle=style, label=label)
    if names:
        turned = len(names) > _MANY_LABELS or max(map(len, names)) * len(names) > 55
        axes.set_xticks(range(len(names)), names, rotation=30 if turned else 0)
        for text in axes.get_xticklabels() if turned else ():
            text.set(ha="right", rotation_mode="anchor", fontsize=8)
    _finish(axes, panel, table)


def _draw_series(
    axes: Axes, panel: Panel, table: Table, x: Column, label: str, colour: str
) -> None:
    y, categories = table[panel.y], table[panel.x].dtype.kind == "U"
    joined = panel.joined and not categories
    mark = "" if joined and len(x) > _MANY_POINTS else "o"
    style = "-" if joined else "none"
    look: dict[str, Any] = {"linestyle": style, "marker": mark, "color": colour}
    axes.plot(x, y, label=label, linewidth=1.3, markersize=4, **look)
    if panel.low is not None and panel.high is not None:
        low, high = table[panel.low], table[panel.high]
        if joined:
            axes.fill_between(x, low, high, color=colour, alpha=0.2, linewidth=0)
        else:
            axes.vlines(x, low, high, color=colour, linewidth=1.3)
    if panel.dashed is not None:
        axes.plot(x, table[panel.dashed], "--", marker="", linewidth=1, color=colour, alpha=0.8)


def _finish(axes: Axes, panel: Panel, table: Table) -> None:
    if "x" in panel.log:
        axes.set_xscale("log")
        _thin_out(axes)
    if "y" in panel.log:
        axes.set_yscale("log")
    axes.set_title(panel.title, size=9.5)
    axes.set_xlabel(panel.x_label if panel.x_label is not None else table.label(panel.x))
    axes.set_ylabel(panel.y_label if panel.y_label is not None else table.label(panel.y))
    axes.grid(alpha=0.25, linewidth=0.6)
    if panel.dashed is not None:
        axes.plot([], [], "--", color="#444444", linewidth=1, label=panel.dashed.replace("_", " "))
    labels = [label for label in axes.get_legend_handles_labels()[1] if label]
    if labels:
        axes.legend(frameon=False, fontsize=7.5, ncols=2 if len(labels) > 5 else 1)


def _thin_out(axes: Axes) -> None:
    """Label so few places of a logarithmic x axis that no two labels meet."""
    low, high = axes.get_xlim()
    decades = np.log10(high / low)
    axes.xaxis.set_minor_formatter(NullFormatter())
    if decades < _FEW_DECADES:
        narrow = decades < _NARROW
        axes.xaxis.set_major_locator(MaxNLocator(5) if narrow else LogLocator(subs=(1, 2, 5)))
        axes.xaxis.set_major_formatter(StrMethodFormatter("{x:g}"))


def _colours(panel: Panel, table: Table, count: int) -> list[str]:
    """Colour numbers by their order, names by kind."""
    if panel.series is not None and table[panel.series].dtype.kind in "if":
        return shades(count)
    return [f"C{number % 10}" for number in range(count)]
