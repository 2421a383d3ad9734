"""Figures of a comparison: the sure differences, and how much differs in each layer."""

from collections.abc import Iterator
from functools import partial

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from backlight.report.drawing import Drawing
from backlight.report.layout import figure_with_text, panels_in
from backlight.runs.results import Results
from backlight.surveys.comparison.figures.series import moves
from backlight.surveys.comparison.figures.surest import COLOURS, surest
from backlight.surveys.comparison.names import HIGHER_IN_FIRST, HIGHER_IN_SECOND
from backlight.tables import Table

_GREY = "#999999"
_MOST_PANELS = 9


def draw(results: Results) -> Iterator[Drawing]:
    """List all figures of a comparison.

    Args:
        results: The comparison, made just now or read from disk.

    Yields:
        The figures, not yet drawn.
    """
    if "moves" in results.tables:
        yield Drawing(name="moves.png", make=partial(moves, results))
        return
    if any(results.tables["differences"]["higher_in"] != ""):
        yield Drawing(name="surest.png", make=partial(surest, results))
    yield Drawing(name="by_layer.png", make=partial(_layers, results))
    yield Drawing(name="differences.png", make=partial(_differences, results))


def _differences(results: Results) -> Figure:
    table, about = results.tables["differences"], results.metadata
    groups = _groups_of(table)
    shown = groups[:_MOST_PANELS]
    figure = figure_with_text(
        *_size_of(len(shown), height=3.8),
        title="Effect sizes of the surest differences, by layer",
        subtitle=_subtitle(results),
        caption=[
            f"Of each layer the surest units; red: surely higher in a, blue: in b (q <= "
            f"{about['q']:g} among {about['num_compared']:,}), grey: may be chance. Effect size: "
            "the difference in standard deviations of passages."
            + f" {len(groups) - len(shown)} more statistics are in the table."
            * (len(groups) > len(shown)),
        ],
    )
    panels = panels_in(figure, len(shown), 3)
    for (kind, statistic), axes in zip(shown, panels, strict=True):
        own = table.select((table["kind"] == kind) & (table["statistic"] == statistic))
        _effects(axes, own)
        axes.set_title(f"{kind}: {statistic}", fontsize=10)
    return figure


def _effects(axes: Axes, table: Table) -> None:
    layers, effects = np.nan_to_num(table["layer"], nan=0.0), table["effect_size"]
    spread = np.random.default_rng(0).uniform(-0.3, 0.3, len(layers))
    for verdict in ("", HIGHER_IN_FIRST, HIGHER_IN_SECOND):
        own = table["higher_in"] == verdict
        axes.scatter(
            (layers + spread)[own],
            effects[own],
            s=7,
            linewidths=0,
            color=COLOURS.get(verdict, _GREY),
            alpha=0.8,
        )
    axes.axhline(0, color=_GREY, linewidth=0.6, zorder=0)
    axes.set(xlabel="layer", ylabel="effect size (a - b)")


def _layers(results: Results) -> Figure:
    table = results.tables["layers"]
    shown = _groups_of(table)[:_MOST_PANELS]
    figure = figure_with_text(
        *_size_of(len(shown), height=3.4),
        title="How much differs in each layer",
        subtitle=_subtitle(results),
        caption=[
            "Bars: share of the units that is surely higher in a (red, up) and in b (blue, down). "
            "Line: Spearman's correlation of both runs' numbers.",
        ],
    )
    for (kind, statistic), axes in zip(shown, panels_in(figure, len(shown), 3), strict=True):
        own = table.select((table["kind"] == kind) & (table["statistic"] == statistic))
        layers = np.nan_to_num(own["layer"], nan=0.0)
        counts = np.maximum(own["num_compared"], 1)
        axes.bar(layers, own["num_higher_a"] / counts, color=COLOURS[HIGHER_IN_FIRST])
        axes.bar(layers, -own["num_higher_b"] / counts, color=COLOURS[HIGHER_IN_SECOND])
        axes.plot(layers, own["rank_agreement"], color="black", marker="o", markersize=3)
        axes.axhline(0, color=_GREY, linewidth=0.6)
        axes.set(ylim=(-1.05, 1.05), xlabel="layer", ylabel="share, correlation")
        axes.set_title(f"{kind}: {statistic}", fontsize=10)
    return figure


def _groups_of(table: Table) -> list[tuple[str, str]]:
    """List the kinds of units with their statistics: a panel each."""
    return list(dict.fromkeys(zip(table["kind"], table["statistic"], strict=True)))


def _size_of(num_panels: int, *, height: float) -> tuple[float, float]:
    """Compute how wide and high panels of that height are, three in a row."""
    return max(4.4 * min(num_panels, 3), 7.0), height * -(-num_panels // 3) + 0.6


def _subtitle(results: Results) -> str:
    about = results.metadata
    runs = "; ".join(f"{each} = {about[each]['label']}" for each in "ab")
    return f"backlight compare, runs of backlight {about['compared']}: {runs}"
