"""All figures of a run of ``backlight layers``, drawn from its tables and arrays."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from backlight.report.axes import (
    MODE_COLOURS,
    CommonScale,
    draw_against,
    draw_by_layer,
    draw_density_by_layer,
    draw_dimensions,
    draw_dimensions_on,
    draw_distribution,
    draw_distribution_on,
)
from backlight.tables import Table

__all__ = ["LayersReport", "Variant", "draw_layers"]

_COLUMNS = 6
_NOUNS = {"gradients": "gradient", "values": "value", "grad_x_act": "grad_x_act"}
_TITLES = {
    "gradients": "gradient of the loss",
    "values": "activation",
    "grad_x_act": "gradient x activation",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Variant:
    """One way in which dimensions were aggregated.

    Attributes:
        name: As in file names: the mode, with ``_norm_sum`` or ``_norm_sum_abs`` if both exist.
        mode: ``mean``, ``mean_abs`` or ``rms``.
        unit: Their unit.
        by_layer: The numbers: for each layer one per dimension.
    """

    name: str
    mode: str
    unit: str
    by_layer: Mapping[int, NDArray[Any]]

    def table(self, layer: int) -> Table:
        """Give one layer's numbers as a table."""
        values = np.asarray(self.by_layer[layer], dtype=np.float64)
        return Table(
            name=self.name,
            columns={"dimension": np.arange(len(values)), self.mode: values},
            units={self.mode: self.unit},
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class LayersReport:
    """What the figures of a run show.

    Attributes:
        model: The model's name.
        site: The kind of site, such as ``mlp.out``.
        quantity: ``gradients``, ``values`` or ``grad_x_act``.
        variants: The aggregates.
        layers: The table by layer.
        dimensions: The table by dimension.
        histograms: The table of sizes.
    """

    model: str
    site: str
    quantity: str
    variants: tuple[Variant, ...]
    layers: Table
    dimensions: Table
    histograms: Table

    @property
    def noun(self) -> str:
        """The quantity, as in file names."""
        return _NOUNS[self.quantity]

    @property
    def title(self) -> str:
        """What is shown, for a title."""
        return f"{_TITLES[self.quantity]} at {self.site}, {self.model}"


def draw_layers(report: LayersReport) -> Iterator[tuple[str, Figure]]:
    """Draw all figures of a run.

    Args:
        report: What to show.

    Yields:
        The name of each figure's file, and the figure.
    """
    yield "depth_profile.png", _depth_profile(report)
    yield f"token_{report.noun}_histograms.png", _token_histograms(report)
    for variant in report.variants:
        yield from _layer_figures(report, variant)
        if len(variant.by_layer) > 1:
            yield from _all_layers_figures(report, variant)
    yield from _pairs(report)


def _layer_figures(report: LayersReport, variant: Variant) -> Iterator[tuple[str, Figure]]:
    colour = MODE_COLOURS[variant.mode]
    for layer in variant.by_layer:
        table, title = variant.table(layer), f"Layer {layer}: {report.title}"
        figure, axes = _figure(title)
        draw_distribution(axes, table, variant.mode, colour=colour, num_bins=100)
        yield f"layer_{layer}_{variant.name}_{report.noun}_hist.png", figure
        figure, axes = _figure(title)
        draw_dimensions(axes, table, variant.mode, colour=colour)
        yield f"layer_{layer}_{variant.name}_activation_scatter.png", figure


def _all_layers_figures(report: LayersReport, variant: Variant) -> Iterator[tuple[str, Figure]]:
    colour, layers, mode = MODE_COLOURS[variant.mode], list(variant.by_layer), variant.mode
    scale = CommonScale.of(np.concatenate([variant.table(layer)[mode] for layer in layers]))
    unit, title = variant.table(layers[0]).label(mode), f"All layers: {report.title}"

    figure, grid = _grid(title, layers, x=unit, y="number of dimensions")
    for layer, axes in zip(layers, grid, strict=True):
        table = variant.table(layer)
        draw_distribution_on(axes, table, mode, scale, colour=colour, num_bins=50)
    yield f"all_layers_{variant.name}_{report.noun}_histograms.png", figure

    figure, grid = _grid(title, layers, x="dimension", y=unit)
    for layer, axes in zip(layers, grid, strict=True):
        draw_dimensions_on(axes, variant.table(layer), mode, scale, colour=colour)
    yield f"all_layers_{variant.name}_activation_scatter.png", figure


def _pairs(report: LayersReport) -> Iterator[tuple[str, Figure]]:
    """Draw signed mean and mean of absolute values side by side, and against each other."""
    means = [variant for variant in report.variants if variant.mode == "mean"]
    sizes = [variant for variant in report.variants if variant.mode == "mean_abs"]
    for left, right in zip(means, sizes, strict=False):
        suffix = left.name.removeprefix("mean")
        for layer in left.by_layer:
            title = f"Layer {layer}: {report.title}"
            figure, pair = _pair(title)
            for axes, variant in zip(pair, (left, right), strict=True):
                table, colour = variant.table(layer), MODE_COLOURS[variant.mode]
                draw_distribution(axes, table, variant.mode, colour=colour, num_bins=100)
            yield f"layer_{layer}{suffix}_{report.noun}_hist_combined.png", figure
            figure, pair = _pair(title)
            for axes, variant in zip(pair, (left, right), strict=True):
                table, colour = variant.table(layer), MODE_COLOURS[variant.mode]
                draw_dimensions(axes, table, variant.mode, colour=colour)
            yield f"layer_{layer}{suffix}_{report.noun}_scatter_combined.png", figure
    if means and sizes:
        yield "mean_against_mean_abs.png", _against(report)


def _against(report: LayersReport) -> Figure:
    layers = [int(layer) for layer in report.layers["layer"]]
    figure, grid = _grid(
        f"Direction against strength: {report.title}",
        layers,
        x="mean abs / largest mean abs of the layer (outer lines: always one sign)",
        y="mean / largest mean abs of the layer",
    )
    for layer, axes in zip(layers, grid, strict=True):
        draw_against(axes, report.dimensions.select(report.dimensions["layer"] == layer))
    return figure


def _depth_profile(report: LayersReport) -> Figure:
    modes = list(dict.fromkeys(variant.mode for variant in report.variants))
    figure = Figure(figsize=(8, 2.6 + 2.6 * len(modes)), layout="constrained")
    panels = figure.subplots(len(modes) + 1, 1, sharex=True, squeeze=False)[:, 0]
    figure.suptitle(f"Depth profile: {report.title}\n(bands: 95 %, clustered by passage)", size=11)
    table = report.layers
    for mode, axes in zip(modes, panels, strict=False):
        positive = bool((table[mode] > 0).all())
        draw_by_layer(
            axes,
            table,
            mode,
            colour=MODE_COLOURS[mode],
            label=mode,
            log=mode != "mean" and positive,
        )
        axes.set_xlabel("")
    _draw_concentration(panels[-1], table)
    return figure


def _draw_concentration(axes: Axes, table: Table) -> None:
    """Draw how evenly dimensions share the quantity, and how steady their signs are."""
    share = table["participation_ratio"] / table["num_dimensions"]
    curves = {
        "effective dimensions / dimensions": share,
        "share of the top 1 %": table["top_share"],
        "sign consistency": table["sign_consistency"],
    }
    for label, values in curves.items():
        axes.plot(table["layer"], values, marker=".", label=label)
    axes.set(xlabel="layer", ylabel="share (0 to 1)", ylim=(0, 1))
    axes.legend(frameon=False, fontsize=8, ncols=3)


def _token_histograms(report: LayersReport) -> Figure:
    figure, axes = _figure(f"Size of single values: {report.title}")
    mesh = draw_density_by_layer(axes, report.histograms)
    figure.colorbar(mesh, ax=axes, label="share of tokens x dimensions (%)")
    return figure


def _figure(title: str) -> tuple[Figure, Axes]:
    figure = Figure(figsize=(8, 4.5))
    figure.suptitle(title, size=11)
    return figure, figure.subplots(gridspec_kw=_margins(8, 4.5))


def _pair(title: str) -> tuple[Figure, list[Axes]]:
    figure = Figure(figsize=(13, 4.5))
    figure.suptitle(title, size=11)
    return figure, list(figure.subplots(1, 2, gridspec_kw={**_margins(13, 4.5), "wspace": 0.2}))


def _grid(title: str, layers: list[int], *, x: str, y: str) -> tuple[Figure, list[Axes]]:
    """Lay out one small picture for each layer, all on one scale."""
    columns = min(_COLUMNS, len(layers))
    rows = -(-len(layers) // columns)
    width, height = 2.4 * columns + 0.6, 1.7 * rows + 1
    figure = Figure(figsize=(width, height))
    figure.suptitle(title, size=12)
    figure.supxlabel(x, size=10)
    figure.supylabel(y, size=10)
    margins = _margins(width, height)
    panels = figure.subplots(
        rows, columns, sharex=True, sharey=True, squeeze=False, gridspec_kw=margins
    )
    cells = list(panels.flat)
    for layer, axes in zip(layers, cells, strict=False):
        axes.set_title(f"layer {layer}", size=8)
        axes.tick_params(labelsize=7)
    for axes in cells[len(layers) :]:
        axes.set_axis_off()
    return figure, cells[: len(layers)]


def _margins(width: float, height: float) -> dict[str, float]:
    """Leave room for titles and labels, in inches: much quicker than to lay out each figure."""
    return {
        "left": 0.95 / width,
        "right": 1 - 0.2 / width,
        "bottom": 0.6 / height,
        "top": 1 - 0.6 / height,
        "wspace": 0.12,
        "hspace": 0.35,
    }
