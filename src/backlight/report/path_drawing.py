"""The figure of what paths add up to: changes as they are predicted, and as they are."""

from collections.abc import Iterator
from functools import partial

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from backlight.report.colours import PALETTE
from backlight.report.drawing import Drawing
from backlight.report.layout import figure_with_text, panels_in
from backlight.report.lines import finish
from backlight.report.paths import CHANGES, LEAST, READING, RESIDUALS, kinds_of
from backlight.report.scales import make_logarithmic
from backlight.runs.results import Results
from backlight.tables import Table

_TRUSTED = 0.01  # of the true change is missing


def draw_paths(results: Results, *, name: str, title: str) -> Iterator[Drawing]:
    """List the figure of what paths add up to, if there are paths.

    Args:
        results: The run.
        name: What the figure is called.
        title: The model, for its title.

    Yields:
        The figure, not yet drawn.
    """
    if "completeness" in results.tables:
        make = partial(_paths, results.tables["completeness"], title)
        yield Drawing(name=name, make=make)


def _paths(table: Table, title: str) -> Figure:
    kinds = kinds_of(table)
    figure = figure_with_text(
        min(4 + 4 * len(kinds), 16),
        5.2,
        title=f"What the path of each site adds up to: {title}",
        caption=(*READING, f"Dashed: {100 * _TRUSTED:.0f} %."),
    )
    panels = panels_in(figure, 2 * len(kinds), len(kinds), sharex="col")
    for (kind, own), above, below in zip(
        kinds.items(), panels[: len(kinds)], panels[len(kinds) :], strict=True
    ):
        above.set_title(kind, fontsize=10)
        _draw_changes(above, own)
        _draw_residuals(below, own)
    return figure


def _draw_changes(axes: Axes, table: Table) -> None:
    styles = {"true_change": ("o", "-"), "path": ("x", ""), "first_order": (".", ":")}
    for (column, label), colour in zip(CHANGES.items(), PALETTE, strict=False):
        marker, line = styles[column]
        axes.plot(
            table["layer"], table[column], marker=marker, linestyle=line, color=colour, label=label
        )
    axes.axhline(0, color="black", linewidth=0.6)
    finish(axes, y=f"change ({table.units['true_change']})", x="")
    axes.legend(frameon=False, fontsize=8)


def _draw_residuals(axes: Axes, table: Table) -> None:
    for (column, label), colour in zip(RESIDUALS.items(), PALETTE[3:], strict=False):
        values = 100 * np.maximum(table[column], LEAST)
        axes.plot(table["layer"], values, marker=".", linewidth=1, color=colour, label=label)
    axes.axhline(100 * _TRUSTED, color="black", linewidth=0.6, linestyle="--")
    make_logarithmic(axes)
    finish(axes, y="missing (%)")
    axes.legend(frameon=False, fontsize=8)
