"""Figures of a run's dimensions, or features: of each layer, and of all layers side by side."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Literal

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from backlight.report.distributions import (
    draw_against,
    draw_distribution,
    draw_distribution_on,
    draw_values,
    draw_values_on,
)
from backlight.report.drawing import Drawing
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


def draw_dimensions(shown: Dimensions) -> Iterator[Drawing]:
    """List all figures of single dimensions.

    Args:
        shown: What to show.

    Yields:
        The figures, not yet drawn.
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
        yield Drawing(name="mean_against_mean_abs.png", make=partial(_against, shown))


def _layer_figures(
    shown: Dimensions, variants: Sequence[Variant], name: str, end: str
) -> Iterator[Drawing]:
    """List each layer's distribution and values, those of several variants side by side."""
    scatter = f"{shown.noun if end else _KINDS[shown.index]}_scatter"
    for layer in variants[0].tables:
        tables = [variant.tables[layer] for variant in variants]
        title = f"Layer {layer}: {shown.title}"
        for kind, draw in ((f"{shown.noun}_hist", draw_distribution), (scatter, draw_values)):
            yield Drawing(
                name=f"layer_{layer}{name}_{kind}{end}.png",
                is_overview=False,
                make=partial(_side_by_side, title, tables, draw),
            )


def _side_by_side(
    title: str, tables: Sequence[Table], draw: Callable[[Axes, Table], None]
) -> Figure:
    figure = figure_with_text(8 if len(tables) == 1 else 13, 4.1, title=title)
    panels = fixed_panels(figure, len(tables), len(tables))
    for axes, table in zip(panels, tables, strict=True):
        draw(axes, table)
    return figure


def _all_layers_figures(shown: Dimensions, variant: Variant) -> Iterator[Drawing]:
    kinds = {
        f"{shown.noun}_histograms": _all_distributions,
        f"{_KINDS[shown.index]}_scatter": _all_values,
    }
    for kind, draw in kinds.items():
        yield Drawing(
            name=f"all_layers_{variant.name}_{kind}.png", make=partial(draw, shown, variant)
        )


def _all_distributions(shown: Dimensions, variant: Variant) -> Figure:
    x, y = _unit(variant), f"number of {shown.index}s"
    return _all_layers(shown, variant, draw_distribution_on, x=x, y=y)


def _all_values(shown: Dimensions, variant: Variant) -> Figure:
    return _all_layers(shown, variant, draw_values_on, x=shown.index, y=_unit(variant))


def _all_layers(
    shown: Dimensions,
    variant: Variant,
    draw: Callable[[Axes, Table, CommonScale], None],
    *,
    x: str,
    y: str,
) -> Figure:
    tables = variant.tables
    scale = CommonScale.of(np.concatenate([each[variant.mode] for each in tables.values()]))
    figure, panels = layer_panels(f"All layers: {shown.title}", list(tables), x=x, y=y)
    for axes, table in zip(panels, tables.values(), strict=True):
        draw(axes, table, scale)
    return figure


def _unit(variant: Variant) -> str:
    return next(iter(variant.tables.values())).label(variant.mode)


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
