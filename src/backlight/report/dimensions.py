"""Figures of a run's dimensions, or features: of each layer, and of all layers side by side."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from matplotlib.figure import Figure

from backlight.report.distributions import (
    draw_against,
    draw_distribution,
    draw_distribution_on,
    draw_values,
    draw_values_on,
)
from backlight.report.layout import figure_with_text, fixed_panels, layer_panels
from backlight.report.scales import CommonScale
from backlight.runs.results import Results
from backlight.tables import Table

NOUNS = {"gradients": "gradient", "values": "value", "grad_x_act": "grad_x_act"}
"""What each quantity is called in the names of files."""

_MODES = ("mean_abs", "mean", "rms")  # a name may begin with another: the longer one first
_KINDS = {"dimension": "activation", "feature": "feature"}  # what scatter plots are called by


@dataclass(frozen=True, slots=True, kw_only=True)
class Variant:
    """One way in which dimensions were aggregated.

    Attributes:
        name: As in file names: the mode, with ``_norm_sum`` or ``_norm_sum_abs`` if both exist.
        mode: ``mean``, ``mean_abs`` or ``rms``.
        tables: For each layer the numbers that are known, by dimension or feature.
    """

    name: str
    mode: str
    tables: Mapping[int, Table]


def variants_of(results: Results, index: str) -> tuple[Variant, ...]:
    """Collect the arrays of a run by how they were aggregated.

    Args:
        results: A run whose arrays are called ``layer_{i}_{variant}``.
        index: What its arrays count: ``dimension`` or ``feature``.

    Returns:
        The variants, in the order of the arrays.
    """
    layers = [int(layer) for layer in results.tables["layers"]["layer"]]
    start = f"layer_{layers[0]}_"
    names = [key.removeprefix(start) for key in results.data if key.startswith(start)]
    return tuple(_variant(name, index, results, layers) for name in names)


@dataclass(frozen=True, slots=True, kw_only=True)
class Dimensions:
    """What is shown of each layer's dimensions, or features.

    Attributes:
        title: What the numbers are, and of which model.
        noun: The quantity, as in file names.
        index: What is counted: ``dimension`` or ``feature``.
        variants: The aggregates.
        means: Each layer's ``mean`` and ``mean_abs`` before power and normalisation, if both were
            measured.
    """

    title: str
    noun: str
    index: Literal["dimension", "feature"]
    variants: tuple[Variant, ...]
    means: Mapping[int, Table]


def draw_dimensions(shown: Dimensions) -> Iterator[tuple[str, Figure]]:
    """Draw all figures of single dimensions.

    Args:
        shown: What to show.

    Yields:
        The name of each figure's file, and the figure.
    """
    for variant in shown.variants:
        yield from _layer_figures(shown, (variant,), f"_{variant.name}", "")
        if len(variant.tables) > 1:
            yield from _all_layers_figures(shown, variant)
    means = [variant for variant in shown.variants if variant.mode == "mean"]
    sizes = [variant for variant in shown.variants if variant.mode == "mean_abs"]
    for pair in zip(means, sizes, strict=False):
        yield from _layer_figures(shown, pair, pair[0].name.removeprefix("mean"), "_combined")
    if means and sizes:
        yield "mean_against_mean_abs.png", _against(shown)


def _layer_figures(
    shown: Dimensions, variants: Sequence[Variant], name: str, end: str
) -> Iterator[tuple[str, Figure]]:
    """Draw each layer's distribution and values, those of several variants side by side."""
    scatter = f"{shown.noun if end else _KINDS[shown.index]}_scatter"
    for layer in variants[0].tables:
        tables = [variant.tables[layer] for variant in variants]
        for kind, draw in ((f"{shown.noun}_hist", draw_distribution), (scatter, draw_values)):
            wide = 8 if len(tables) == 1 else 13
            figure = figure_with_text(wide, 4.1, title=f"Layer {layer}: {shown.title}")
            panels = fixed_panels(figure, len(tables), len(tables))
            for axes, table in zip(panels, tables, strict=True):
                draw(axes, table)
            yield f"layer_{layer}{name}_{kind}{end}.png", figure


def _all_layers_figures(shown: Dimensions, variant: Variant) -> Iterator[tuple[str, Figure]]:
    tables = variant.tables
    scale = CommonScale.of(np.concatenate([each[variant.mode] for each in tables.values()]))
    unit = next(iter(tables.values())).label(variant.mode)
    kinds = {
        f"{shown.noun}_histograms": (draw_distribution_on, unit, f"number of {shown.index}s"),
        f"{_KINDS[shown.index]}_scatter": (draw_values_on, shown.index, unit),
    }
    for kind, (draw, x, y) in kinds.items():
        figure, panels = layer_panels(f"All layers: {shown.title}", list(tables), x=x, y=y)
        for axes, table in zip(panels, tables.values(), strict=True):
            draw(axes, table, scale)
        yield f"all_layers_{variant.name}_{kind}.png", figure


def _against(shown: Dimensions) -> Figure:
    figure, panels = layer_panels(
        f"Direction against strength: {shown.title}",
        list(shown.means),
        x="mean abs / largest mean abs of the layer (outer lines: always one sign)",
        y="mean / largest mean abs of the layer",
    )
    for table, axes in zip(shown.means.values(), panels, strict=True):
        draw_against(axes, table)
    return figure


def _variant(name: str, index: str, results: Results, layers: Sequence[int]) -> Variant:
    options = results.config
    mode = next(mode for mode in _MODES if name == mode or name.startswith(f"{mode}_"))
    norm = name.removeprefix(f"{mode}_norm_") if "_norm_" in name else options["normalize"]
    unit = results.tables["layers"].units[mode]
    if options["power"] is not None:
        unit = f"({unit})^{options['power']:g}"
    if norm != "none":
        unit = f"1 on average by {norm}"
    tables: dict[int, Table] = {}
    for layer in layers:
        values = np.asarray(results.data[f"layer_{layer}_{name}"], dtype=np.float64)
        known = np.flatnonzero(~np.isnan(values))
        columns = {index: known, mode: values[known]}
        tables[layer] = Table(name=name, columns=columns, units={mode: unit})
    return Variant(name=name, mode=mode, tables=tables)
