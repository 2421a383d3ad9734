"""Figures of a validation: what was predicted and what happened, and agreement by size."""

from collections.abc import Iterator
from functools import partial
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import Normalize
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, FuncFormatter

from backlight.report.colours import SEQUENTIAL, of_sizes
from backlight.report.drawing import Drawing
from backlight.report.layout import figure_with_text, panels_in
from backlight.report.scales import CommonScale, brief
from backlight.runs.results import Results
from backlight.surveys.validation.options import ABLATIONS, KINDS
from backlight.tables import Table

_MARKERS = {"zero": "o", "mean": "s", "resample": "^"}
_GREY = "#999999"


def draw(results: Results) -> Iterator[Drawing]:
    """List all figures of a validation.

    Args:
        results: The run, measured just now or read from disk.

    Yields:
        The figures, not yet drawn.
    """
    yield Drawing(name="predicted_and_true.png", make=partial(_changes, results))
    yield Drawing(name="agreement_by_size.png", make=partial(_sizes, results))


def _changes(results: Results) -> Figure:
    units, about = results.tables["units"], results.metadata
    kinds = list(dict.fromkeys(units["kind"].tolist()))
    shapes = ", ".join(f"{_NAMES[each]}: {ABLATIONS[each]}" for each in about["ablations"])
    figure = figure_with_text(
        4.2 * len(kinds) + 0.6,
        4.2,
        title="What the gradient predicts, and what happens",
        subtitle=f"{about['model_name']}, units of backlight {about['validated']}",
        caption=[
            "Each point is one change; on the line, the prediction is exact. Both axes are linear "
            "around zero and logarithmic beyond. Crosses: the warning index says that the "
            f"prediction is likely wrong. {shapes[0].upper()}{shapes[1:]}.",
        ],
    )
    norm = of_sizes(units["relative_size"], decades=4)
    shown = panels_in(figure, len(kinds), len(kinds))
    points = None
    for kind, axes in zip(kinds, shown, strict=True):
        own = units.select(units["kind"] == kind)
        points = _scatter(axes, own, norm, about["likely_wrong_above"])
        axes.set_title(f"{KINDS[kind]} ({own.num_rows})", fontsize=10)
    if points is not None and norm is not None:
        figure.colorbar(points, ax=shown, label="change / residual stream")
    return figure


_NAMES = {"zero": "circles", "mean": "squares", "resample": "triangles"}


def _scatter(axes: Axes, table: Table, norm: Normalize | None, threshold: float) -> Any:
    predicted, true = table["predicted"], table["true"]
    scale = CommonScale.of(np.concatenate([predicted, true, [0.0]]))
    sizes, points = table["relative_size"], None
    x, y = scale.transform(predicted), scale.transform(true)
    for ablation, marker in _MARKERS.items():
        own = table["ablation"] == ablation
        colours = np.where(np.isnan(sizes[own]), np.nan, sizes[own])
        shade: dict[str, Any] = {"c": colours, "cmap": SEQUENTIAL, "norm": norm}
        if norm is None:
            shade = {"color": _GREY}
        drawn = axes.scatter(
            x[own], y[own], s=22, marker=marker, linewidths=0.4, edgecolors="white", **shade
        )
        points = drawn if own.any() else points
    flagged = table["warning_index"] > threshold
    axes.scatter(x[flagged], y[flagged], s=9, marker="x", c="black", linewidths=0.6)
    ends = scale.transform(np.array([scale.low, scale.high]))
    axes.plot(ends, ends, color=_GREY, linewidth=0.8, zorder=0)
    axes.axhline(0, color=_GREY, linewidth=0.4, zorder=0)
    axes.axvline(0, color=_GREY, linewidth=0.4, zorder=0)
    _number(axes, scale)
    axes.set(xlabel=table.label("predicted"), ylabel=table.label("true"))
    return points


def _number(axes: Axes, scale: CommonScale) -> None:
    ticks = np.array(scale.ticks())
    places = scale.transform(ticks)
    words = dict(zip(places.tolist(), map(brief, ticks.tolist()), strict=True))
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_locator(FixedLocator(places.tolist()))
        axis.set_major_formatter(FuncFormatter(lambda place, _: words.get(place, "")))


def _sizes(results: Results) -> Figure:
    table = results.tables["by_size"]
    table = table.select(table["num_units"] > 0)
    figure = figure_with_text(
        8.5,
        3.4,
        title="Agreement by how large the change is beside the residual stream",
        subtitle=f"{results.metadata['model_name']}, all kinds of units",
        caption=[
            "Bars: 95 % intervals over passages and units. Wrong: the sign is, or more than half "
            "of the true change is missing.",
        ],
    )
    left, right = panels_in(figure, 2, 2)
    places = np.arange(table.num_rows)
    labels = [
        f"{name}\nn = {count}"
        for name, count in zip(table["relative_size"], table["num_units"], strict=True)
    ]
    for name, colour, shift, marker in (
        ("sign_agreement", "#2b6cb0", -0.08, "o"),
        ("pearson", "#b5542b", 0.08, "s"),
    ):
        values = table[name]
        reach = np.abs(np.stack([table[f"{name}_low"] - values, table[f"{name}_high"] - values]))
        left.errorbar(
            places + shift,
            values,
            reach,
            color=colour,
            marker=marker,
            linestyle="",
            label="signs agree" if name == "sign_agreement" else "Pearson",
        )
    left.axhline(0.5, color=_GREY, linewidth=0.8, linestyle=":")
    left.axhline(0.0, color=_GREY, linewidth=0.8, linestyle=":")
    left.set(ylim=(-1.05, 1.05), ylabel="share, correlation")
    left.legend(frameon=False, fontsize=8)
    right.bar(places, 100 * table["wrong_share"], color="#b5542b", width=0.6)
    right.set(ylim=(0, 100), ylabel="wrong predictions (%)")
    for axes in (left, right):
        axes.set_xticks(places, labels, fontsize=7)
        axes.set_xlabel("relative size of the change")
    return figure
