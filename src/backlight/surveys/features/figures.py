"""All figures of a run of ``backlight sae``, drawn from its tables and arrays."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from backlight.report.axes import MODE_COLOURS, draw_largest, draw_spread_by_layer
from backlight.report.canvas import layer_grid, one_panel
from backlight.report.dimensions import Dimensions, draw_all_dimensions
from backlight.tables import Table

_NUM_BARS = 10


@dataclass(frozen=True, slots=True, kw_only=True)
class FeaturesReport:
    """What the figures of a run show.

    Attributes:
        shown: The features' numbers, and what they are.
        layers: The table by layer.
        dictionaries: The table of how well each dictionary reconstructs.
        top_features: The table of the features that matter most.
    """

    shown: Dimensions
    layers: Table
    dictionaries: Table
    top_features: Table


def draw_features(report: FeaturesReport) -> Iterator[tuple[str, Figure]]:
    """Draw all figures of a run.

    Args:
        report: What to show.

    Yields:
        The name of each figure's file, and the figure.
    """
    modes = list(dict.fromkeys(variant.mode for variant in report.shown.variants))
    yield "dictionary_quality.png", _quality(report)
    if report.layers.num_rows > 1:
        yield "depth_profile.png", _depth_profile(report, modes)
    for mode in modes:
        yield f"top_features_{mode}.png", _top(report, mode)
    yield from draw_all_dimensions(report.shown)


def _depth_profile(report: FeaturesReport, modes: list[str]) -> Figure:
    figure = Figure(figsize=(8, 0.8 + 2.8 * len(modes)), layout="constrained")
    panels = figure.subplots(len(modes), 1, sharex=True, squeeze=False)[:, 0]
    figure.suptitle(f"Depth profile: {report.shown.title}", size=11)
    for mode, axes in zip(modes, panels, strict=True):
        draw_spread_by_layer(axes, report.layers, mode, colour=MODE_COLOURS[mode])
    return figure


def _quality(report: FeaturesReport) -> Figure:
    """Draw how much of its site's variance each dictionary explains, and with how many features."""
    figure = Figure(figsize=(8, 4.8), layout="constrained")
    above, below = figure.subplots(2, 1, sharex=True)
    figure.suptitle("How well the dictionaries reconstruct, on the first batch", size=11)
    table = report.dictionaries
    _draw_shares(above, table)
    below.bar(table["layer"].astype(str), table["l0"], color="#2b6cb0", width=0.6)
    below.set(xlabel="layer", ylabel="L0\n(features per token)")
    return figure


def _draw_shares(axes: Axes, table: Table) -> None:
    layers = table["layer"].astype(str)
    curves = {
        "explained variance": ("explained_variance", "o", "#2b6cb0"),
        "with first tokens": ("explained_variance_with_first", "x", "#b5542b"),
        "dead features (in this batch)": ("dead_share", ".", "#718096"),
    }
    for label, (column, marker, colour) in curves.items():
        values = np.maximum(table[column], -0.1)
        axes.plot(layers, values, marker=marker, color=colour, label=label, linewidth=1)
    axes.axhline(0.3, color="black", linewidth=0.6, linestyle="--", label="least to be trusted")
    axes.set(ylabel="share", ylim=(-0.12, 1.02))
    axes.legend(frameon=False, fontsize=8, ncols=4, loc="lower right")


def _top(report: FeaturesReport, mode: str) -> Figure:
    """Draw the features of the largest values with their errors, layer by layer."""
    table = report.top_features
    layers = [int(layer) for layer in report.layers["layer"]]
    title = f"Largest {mode.replace('_', ' ')}: {report.shown.title}"
    unit = table.label(mode)
    if len(layers) == 1:
        figure, alone = one_panel(title)
        alone.set(xlabel=f"{unit}, with 95 % of its error", ylabel="feature")
        grid = [alone]
    else:
        figure, grid = layer_grid(
            title, layers, x=f"{unit}, with 95 % of its error", y="feature", share=False
        )
    for layer, axes in zip(layers, grid, strict=True):
        own = table.select(table["layer"] == layer)
        error = "mean_se" if mode == "rms" else f"{mode}_se"
        draw_largest(
            axes,
            own,
            mode,
            error=None if mode == "rms" else error,
            colour=MODE_COLOURS[mode],
            num_bars=_NUM_BARS,
        )
        axes.xaxis.set_major_locator(MaxNLocator(3))
    return figure


def draw(results):
    """Draw all figures of a run."""
    from backlight.tools.report.command import features_report

    return draw_features(features_report(results))
