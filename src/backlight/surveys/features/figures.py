"""All figures of a run of ``backlight sae``, drawn from its tables and arrays."""

from collections.abc import Iterator, Sequence
from functools import partial
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from backlight.models.backward_rules.rule import beside
from backlight.report.colours import MODES, STAR
from backlight.report.dimensions import NOUNS, Dimensions, draw_dimensions, variants_of
from backlight.report.drawing import Drawing
from backlight.report.intervals import NORMAL_95
from backlight.report.layout import figure_with_text, fixed_panels, layer_panels, panels_in
from backlight.report.lines import fill_band, finish
from backlight.report.path_drawing import draw_paths
from backlight.runs.results import Results
from backlight.surveys.driver.words.path import titled
from backlight.tables import Table

_TITLES = {
    "gradients": "gradient of the loss by features",
    "values": "feature activations",
    "grad_x_act": "gradient x activation of features",
}
_CURVES = {
    "explained variance": ("explained_variance", "o", "#2b6cb0"),
    "with first tokens": ("explained_variance_with_first", "x", "#b5542b"),
    "dead features (in this batch)": ("dead_share", ".", "#718096"),
}
_LEAST_TRUSTED = 0.3  # explained variance
_NUM_BARS = 10


def draw(results: Results) -> Iterator[Drawing]:
    """List all figures of a run.

    Args:
        results: The run, measured just now or read from disk.

    Yields:
        The figures, not yet drawn.
    """
    tables, title = results.tables, _title(results.config)
    variants = variants_of(results, "feature")
    modes = list(dict.fromkeys(variant.mode for variant in variants))
    quality = partial(_quality, tables["dictionaries"])
    yield Drawing(name="dictionary_quality.png", make=quality)
    if tables["layers"].num_rows > 1:
        profile = partial(_depth_profile, tables["layers"], modes, title)
        yield Drawing(name="depth_profile.png", make=profile)
    for mode in modes:
        layers = tables["layers"]["layer"].tolist()
        top = partial(_top, tables["top_features"], layers, mode, title)
        yield Drawing(name=f"top_features_{mode}.png", make=top)
    yield from draw_paths(results, name="path_completeness.png", title=results.config["model_name"])
    shown = Dimensions(
        title=title,
        noun=NOUNS[results.config["aggregate_by"]],
        index="feature",
        variants=variants,
        means=_means(results),
    )
    yield from draw_dimensions(shown)


def _title(options: Any) -> str:
    where = "where they fire, " if options["active_only"] else ""
    how = "" if options["aggregate_by"] == "values" else f" (splice {options['splice']})"
    what = titled(_TITLES[options["aggregate_by"]], options)
    return f"{what}, {where}{options['model_name']}{how}{beside(options)}"


def _means(results: Results) -> dict[int, Table]:
    """Collect each layer's means, of the features that are known, where both were measured."""
    unit = next(iter(results.tables["layers"].units.values()))
    units = {"mean": unit, "mean_abs": unit}
    found: dict[int, Table] = {}
    for layer in map(int, results.tables["layers"]["layer"]):
        names = {name: f"layer_{layer}_{name}" for name in units}
        if all(key in results.statistics for key in names.values()):
            columns = {name: results.statistics[key] for name, key in names.items()}
            table = Table(name="means", columns=columns, units=units)
            found[layer] = table.select(~np.isnan(table["mean_abs"]))
    return found


def _depth_profile(table: Table, modes: Sequence[str], title: str) -> Figure:
    figure = figure_with_text(8, 0.4 + 2.8 * len(modes), title=f"Depth profile: {title}")
    for mode, axes in zip(modes, panels_in(figure, len(modes), 1, sharex=True), strict=True):
        _draw_spread(axes, table, mode)
    return figure


def _draw_spread(axes: Axes, table: Table, mode: str) -> None:
    """Draw the average over features against depth, their spread, and the largest."""
    layers, values, spread, colour = table["layer"], table[mode], table[f"{mode}_std"], MODES[mode]
    axes.plot(layers, values, marker="o", markersize=3.5, color=colour, label="average")
    fill_band(axes, layers, values - spread, values + spread, colour=colour, label="± std")
    axes.plot(layers, table[f"{mode}_max"], "*", color=STAR, label="largest (absolute)")
    finish(axes, y=table.label(mode))
    if (values > 0).all() and mode != "mean":
        axes.set_yscale("log")
    else:
        axes.axhline(0, color="black", linewidth=0.6)
    axes.legend(frameon=False, fontsize=8)


def _quality(table: Table) -> Figure:
    """Draw how much of its site's variance each dictionary explains, and with how many features."""
    title = "How well the dictionaries reconstruct, on the first batch"
    figure = figure_with_text(8, 4.4, title=title)
    above, below = panels_in(figure, 2, 1, sharex=True)
    layers = table["layer"].astype(str)
    for label, (column, marker, colour) in _CURVES.items():
        values = np.maximum(table[column], -0.1)  # one bad dictionary would hide all others
        above.plot(layers, values, marker=marker, color=colour, label=label, linewidth=1)
    dashed: dict[str, Any] = {"color": "black", "linewidth": 0.6, "linestyle": "--"}
    above.axhline(_LEAST_TRUSTED, label="least to be trusted", **dashed)
    above.set(ylabel="share", ylim=(-0.12, 1.02))
    above.legend(frameon=False, fontsize=8, ncols=4, loc="lower center", bbox_to_anchor=(0.5, 1))
    below.bar(layers, table["l0"], color="#2b6cb0", width=0.6)
    below.set(xlabel="layer", ylabel="L0\n(features per token)")
    return figure


def _top(table: Table, layers: Sequence[int], mode: str, title: str) -> Figure:
    """Draw the features of the largest values with their errors, layer by layer."""
    title = f"Largest {mode.replace('_', ' ')}: {title}"
    x = f"{table.label(mode)}, with 95 % intervals"
    if len(layers) == 1:
        figure = figure_with_text(8, 4.1, title=title)
        panels = fixed_panels(figure, 1, 1)
        panels[0].set(xlabel=x, ylabel="feature")
    else:
        figure, panels = layer_panels(title, layers, x=x, y="feature")
    for layer, axes in zip(layers, panels, strict=True):
        _draw_largest(axes, table.select(table["layer"] == layer), mode)
    return figure


def _draw_largest(axes: Axes, table: Table, mode: str) -> None:
    """Draw the largest values as bars, the largest on top, with 95 % error bars if they have any.

    The root mean square has no error in closed form.
    """
    order = np.argsort(-np.abs(table[mode]), kind="stable")[:_NUM_BARS]
    names, values = [str(feature) for feature in table["feature"][order]], table[mode][order]
    error = None if mode == "rms" else NORMAL_95 * np.nan_to_num(table[f"{mode}_se"][order])
    axes.barh(names, values, xerr=error, color=MODES[mode], alpha=0.8, ecolor="#444444")
    axes.invert_yaxis()
    axes.tick_params(axis="y", labelsize=7)
    axes.ticklabel_format(axis="x", scilimits=(-2, 4))
    if (values < 0).any():
        axes.axvline(0, color="black", linewidth=0.6)
    axes.xaxis.set_major_locator(MaxNLocator(3))
