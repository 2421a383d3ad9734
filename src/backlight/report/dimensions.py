"""Figures of single dimensions, or features: how they are distributed, and which are largest."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

from backlight.report.axes import (
    MODE_COLOURS,
    CommonScale,
    draw_against,
    draw_dimensions,
    draw_dimensions_on,
    draw_distribution,
    draw_distribution_on,
)
from backlight.report.canvas import layer_grid, one_panel, two_panels
from backlight.tables import Table

NOUNS = {"gradients": "gradient", "values": "value", "grad_x_act": "grad_x_act"}
"""What each quantity is called in the names of files."""

TITLES = {
    "gradients": "gradient of the loss",
    "values": "activation",
    "grad_x_act": "gradient x activation",
}
"""What each quantity is called in titles."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Variant:
    """One way in which dimensions were aggregated.

    Attributes:
        name: As in file names: the mode, with ``_norm_sum`` or ``_norm_sum_abs`` if both exist.
        mode: ``mean``, ``mean_abs`` or ``rms``.
        unit: Their unit.
        by_layer: The numbers: for each layer one per dimension or feature, NaN if not known.
    """

    name: str
    mode: str
    unit: str
    by_layer: Mapping[int, NDArray[Any]]

    def table(self, layer: int, index: str) -> Table:
        """Give one layer's numbers as a table, without those that are not known."""
        values = np.asarray(self.by_layer[layer], dtype=np.float64)
        known = np.flatnonzero(~np.isnan(values))
        return Table(
            name=self.name,
            columns={index: known, self.mode: values[known]},
            units={self.mode: self.unit},
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Dimensions:
    """What is shown of each layer's dimensions, or features.

    Attributes:
        title: What the numbers are, and of which model.
        noun: The quantity, as in file names.
        kind: What scatter plots are called by: ``activation`` or ``feature``.
        index: What is counted: ``dimension`` or ``feature``.
        variants: The aggregates.
        means: Each layer's ``mean`` and ``mean_abs`` before power and normalisation, if both were
            measured.
    """

    title: str
    noun: str
    kind: Literal["activation", "feature"]
    index: Literal["dimension", "feature"]
    variants: tuple[Variant, ...]
    means: Mapping[int, Table]


def draw_all_dimensions(shown: Dimensions) -> Iterator[tuple[str, Figure]]:
    """Draw all figures of single dimensions.

    Args:
        shown: What to show.

    Yields:
        The name of each figure's file, and the figure.
    """
    for variant in shown.variants:
        yield from _layer_figures(shown, variant)
        if len(variant.by_layer) > 1:
            yield from _all_layers_figures(shown, variant)
    yield from _pair_figures(shown)


def _layer_figures(shown: Dimensions, variant: Variant) -> Iterator[tuple[str, Figure]]:
    colour = MODE_COLOURS[variant.mode]
    for layer in variant.by_layer:
        table, title = variant.table(layer, shown.index), f"Layer {layer}: {shown.title}"
        figure, axes = one_panel(title)
        draw_distribution(axes, table, variant.mode, colour=colour, num_bins=100)
        yield f"layer_{layer}_{variant.name}_{shown.noun}_hist.png", figure
        figure, axes = one_panel(title)
        draw_dimensions(axes, table, variant.mode, colour=colour)
        yield f"layer_{layer}_{variant.name}_{shown.kind}_scatter.png", figure


def _all_layers_figures(shown: Dimensions, variant: Variant) -> Iterator[tuple[str, Figure]]:
    colour, layers, mode = MODE_COLOURS[variant.mode], list(variant.by_layer), variant.mode
    scale = CommonScale.of(
        np.concatenate([variant.table(layer, shown.index)[mode] for layer in layers])
    )
    unit, title = variant.table(layers[0], shown.index).label(mode), f"All layers: {shown.title}"

    figure, grid = layer_grid(title, layers, x=unit, y=f"number of {shown.index}s")
    for layer, axes in zip(layers, grid, strict=True):
        table = variant.table(layer, shown.index)
        draw_distribution_on(axes, table, mode, scale, colour=colour, num_bins=50)
    yield f"all_layers_{variant.name}_{shown.noun}_histograms.png", figure

    figure, grid = layer_grid(title, layers, x=shown.index, y=unit)
    for layer, axes in zip(layers, grid, strict=True):
        draw_dimensions_on(axes, variant.table(layer, shown.index), mode, scale, colour=colour)
    yield f"all_layers_{variant.name}_{shown.kind}_scatter.png", figure


def _pair_figures(shown: Dimensions) -> Iterator[tuple[str, Figure]]:
    """Draw signed mean and mean of absolute values side by side, and against each other."""
    means = [variant for variant in shown.variants if variant.mode == "mean"]
    sizes = [variant for variant in shown.variants if variant.mode == "mean_abs"]
    for left, right in zip(means, sizes, strict=False):
        suffix = left.name.removeprefix("mean")
        for layer in left.by_layer:
            title = f"Layer {layer}: {shown.title}"
            figure, pair = two_panels(title)
            for axes, variant in zip(pair, (left, right), strict=True):
                table, colour = variant.table(layer, shown.index), MODE_COLOURS[variant.mode]
                draw_distribution(axes, table, variant.mode, colour=colour, num_bins=100)
            yield f"layer_{layer}{suffix}_{shown.noun}_hist_combined.png", figure
            figure, pair = two_panels(title)
            for axes, variant in zip(pair, (left, right), strict=True):
                table, colour = variant.table(layer, shown.index), MODE_COLOURS[variant.mode]
                draw_dimensions(axes, table, variant.mode, colour=colour)
            yield f"layer_{layer}{suffix}_{shown.noun}_scatter_combined.png", figure
    if means and sizes:
        yield "mean_against_mean_abs.png", _against(shown)


def _against(shown: Dimensions) -> Figure:
    figure, grid = layer_grid(
        f"Direction against strength: {shown.title}",
        list(shown.means),
        x="mean abs / largest mean abs of the layer (outer lines: always one sign)",
        y="mean / largest mean abs of the layer",
    )
    for table, axes in zip(shown.means.values(), grid, strict=True):
        draw_against(axes, table)
    return figure
