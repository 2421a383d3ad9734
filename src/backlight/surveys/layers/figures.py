"""All figures of a run of ``backlight layers``, drawn from its tables and arrays."""

from collections.abc import Iterator, Sequence
from functools import partial

import numpy as np
from matplotlib.axes import Axes
from matplotlib.collections import QuadMesh
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from backlight.models.backward_rules.rule import beside
from backlight.report.colours import MODES, SEQUENTIAL
from backlight.report.dimensions import NOUNS, Dimensions, draw_dimensions, variants_of
from backlight.report.drawing import Drawing
from backlight.report.layout import figure_with_text, panels_in
from backlight.report.lines import BANDS, draw_band, finish
from backlight.report.path_drawing import draw_paths
from backlight.report.scales import make_logarithmic
from backlight.runs.results import Results
from backlight.surveys.driver.words.aggregation import is_signed
from backlight.surveys.driver.words.path import titled
from backlight.surveys.layers.sizes import sizes_of
from backlight.tables import Table

_TITLES = {
    "gradients": "gradient of the loss",
    "values": "activation",
    "grad_x_act": "gradient x activation",
    "fisher": "squared gradient of the loss",
    "hessian_diagonal": "second derivative of the loss",
}


def draw(results: Results) -> Iterator[Drawing]:
    """List all figures of a run.

    Args:
        results: The run, measured just now or read from disk.

    Yields:
        The figures, not yet drawn.
    """
    options, tables = results.config, results.tables
    noun = NOUNS[options["aggregate_by"]]
    what = titled(f"{_TITLES[options['aggregate_by']]} at {options['site']}", options)
    title = f"{what}, {options['model_name']}{beside(options)}"
    variants = variants_of(results, "dimension")
    modes = list(dict.fromkeys(variant.mode for variant in variants))
    signed = [mode for mode in modes if is_signed(options, mode)]
    profile = partial(_depth_profile, tables["layers"], modes, title, signed)
    yield Drawing(name="depth_profile.png", make=profile)
    if "histograms" in tables:
        sizes = partial(_sizes, tables["histograms"], title)
        yield Drawing(name=f"token_{noun}_histograms.png", make=sizes)
    where = f"{options['site']}, {options['model_name']}"
    yield from draw_paths(results, name="path_completeness.png", title=where)
    single = tables["dimensions"]
    means = {
        int(layer): single.select(single["layer"] == layer) for layer in tables["layers"]["layer"]
    }
    shown = Dimensions(title=title, noun=noun, index="dimension", variants=variants, means=means)
    yield from draw_dimensions(shown)


def _depth_profile(table: Table, modes: Sequence[str], title: str, signed: Sequence[str]) -> Figure:
    height = 2.0 + 2.6 * len(modes)
    figure = figure_with_text(8, height, title=f"Depth profile: {title}", caption=[BANDS])
    panels = panels_in(figure, len(modes) + 1, 1, sharex=True)
    for mode, axes in zip(modes, panels, strict=False):
        draw_band(axes, table["layer"], table, mode, colour=MODES[mode])
        finish(axes, y=table.label(mode), x="")
        # Second derivatives can be negative, but differ more by layers than by their signs.
        if (mode not in signed or "mean_probe_se" in table) and (table[mode] > 0).all():
            make_logarithmic(axes)
        else:
            axes.axhline(0, color="black", linewidth=0.6)
    if "mean_probe_se" in table:
        _draw_chance(panels[-1], table)
    else:
        _draw_concentration(panels[-1], table)
    return figure


def _draw_chance(axes: Axes, table: Table) -> None:
    """Draw how much of the error of each layer's mean is the chance of random probes."""
    curves = {
        "standard error": table["mean_se"],
        "of it, chance of the probes": table["mean_probe_se"],
    }
    for label, values in curves.items():
        axes.plot(table["layer"], values, marker=".", label=label)
    finish(axes, y=table.label("mean_se"))
    make_logarithmic(axes)
    axes.legend(frameon=False, fontsize=8, ncols=2)


def _draw_concentration(axes: Axes, table: Table) -> None:
    """Draw how evenly dimensions share the quantity, and how steady their signs are."""
    curves = {
        "effective dimensions / dimensions": table["participation_ratio"] / table["num_dimensions"],
        "share of the top 1 %": table["top_share"],
    }
    if "sign_consistency" in table:
        curves["sign consistency"] = table["sign_consistency"]
    for label, values in curves.items():
        axes.plot(table["layer"], values, marker=".", label=label)
    finish(axes, y="share (0 to 1)")
    axes.set_ylim(0, 1)
    axes.legend(frameon=False, fontsize=8, ncols=3)


def _sizes(table: Table, title: str) -> Figure:
    figure = figure_with_text(8, 4.1, title=f"Size of single values: {title}")
    axes = figure.subplots()
    mesh = draw_sizes(axes, table)
    figure.colorbar(mesh, ax=axes, label="share of tokens x dimensions (%)")
    return figure


def draw_sizes(axes: Axes, table: Table) -> QuadMesh:
    """Draw how large single values are, layer by layer: the share of each size.

    Args:
        axes: Where to draw; the caller owns the figure.
        table: Columns ``layer``, ``lower``, ``upper`` and ``count``: bins of signed values.

    Returns:
        The coloured mesh, for a colour bar.
    """
    sizes = sizes_of(table)
    layers, shares = sizes.layers, np.ma.masked_invalid(sizes.shares)
    edges = 2.0 ** np.append(sizes.octaves[0] - 1, sizes.octaves)
    steps = np.append(layers, layers[-1] + 1) - 0.5
    mesh = axes.pcolormesh(steps, edges, 100 * shares, cmap=SEQUENTIAL, rasterized=True)
    axes.set_yscale("log")
    unit = table.units["upper"]
    axes.set(xlabel="layer", ylabel=f"absolute value ({unit})\nlowest row: all below, and zeros")
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    return mesh
