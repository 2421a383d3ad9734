"""The figure of a series of runs: how a statistic moves from run to run."""

import numpy as np
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from backlight.foreign.text import plain
from backlight.report.layout import figure_with_text, panels_in
from backlight.runs.results import Results
from backlight.tables import Table

_MOST_STATISTICS = 4
_MOST_NAMED = 12
_LONGEST = 16
_PANELS = (("median", "median size"), ("differ", "share that surely differs"))


def moves(results: Results) -> Figure:
    """Draw how the statistic of each layer moves, and how much of it surely differs.

    Args:
        results: A series of comparisons.

    Returns:
        The figure: two panels for each kind and statistic.
    """
    table, about = results.tables["moves"], results.metadata
    groups = list(dict.fromkeys(zip(table["kind"], table["statistic"], strict=True)))
    shown = groups[:_MOST_STATISTICS]
    runs = [str(each["label"]) for each in about["series"]]
    against = "the first run" if about["against"] == "first" else "the run before"
    figure = figure_with_text(
        10.0,
        3.6 * len(shown) + 0.4,
        title="How a statistic moves from run to run",
        subtitle=f"backlight compare, {len(runs)} runs of backlight {about['compared']}",
        caption=[
            "A line for each layer. Left: the median over its units (of absolute values where they "
            f"have signs). Right: the share that surely differs from {against} "
            f"(q <= {about['q']:g} among {about['num_compared']:,})."
            + f" {len(groups) - len(shown)} more statistics are in the table."
            * (len(groups) > len(shown)),
        ],
    )
    panels = iter(panels_in(figure, 2 * len(shown), 2))
    for kind, statistic in shown:
        own = table.select((table["kind"] == kind) & (table["statistic"] == statistic))
        for column, label in _PANELS:
            axes = next(panels)
            _lines(axes, own, column)
            _name_runs(axes, runs)
            axes.set_ylabel(own.label("median") if column == "median" else label)
            axes.set_title(f"{kind}: {statistic}, {label}", fontsize=10)
    return figure


def _lines(axes: Axes, table: Table, column: str) -> None:
    layers = np.unique(np.nan_to_num(table["layer"], nan=-1.0))
    colours = colormaps["viridis"](np.linspace(0, 0.9, len(layers)))
    for place, (layer, colour) in enumerate(zip(layers, colours, strict=True)):
        own = table.select(np.nan_to_num(table["layer"], nan=-1.0) == layer)
        named = layer >= 0 and (len(layers) <= _MOST_NAMED or place in (0, len(layers) - 1))
        axes.plot(
            own["number"],
            own[column],
            marker="o",
            markersize=3,
            color=tuple(colour),
            label=f"layer {int(layer)}" if named else None,
        )
    if column == "differ":
        axes.set_ylim(-0.03, 1.03)
        if len(layers) > 1:
            axes.legend(frameon=False, fontsize=7, bbox_to_anchor=(1.01, 1), loc="upper left")


def _name_runs(axes: Axes, runs: list[str]) -> None:
    names = [plain(run) for run in runs]
    short = [each if len(each) <= _LONGEST else f"...{each[3 - _LONGEST :]}" for each in names]
    step = -(-len(runs) // _MOST_NAMED)
    axes.set_xticks(range(0, len(runs), step))
    axes.set_xticklabels(short[::step], rotation=30, ha="right", fontsize=8)
    axes.set_xlim(-0.3, len(runs) - 0.7)
