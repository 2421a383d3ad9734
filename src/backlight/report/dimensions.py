"""Figures of a run's dimensions, or features: of each layer, and of all layers side by side."""

from collections.abc import Hashable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Literal

import numpy as np
from matplotlib.figure import Figure

from backlight.report.all_layers import draw_all_against, draw_all_values, draw_distributions
from backlight.report.distributions import (
    DistributionPanel,
    ValuesPanel,
)
from backlight.report.drawing import Drawing
from backlight.report.layout import figure_with_text, fixed_panels, rewrite, text_lines
from backlight.report.wrong import CAPTION, COLUMN, is_wrong
from backlight.runs.results import Results
from backlight.tables import Column, Table

NOUNS = {
    "gradients": "gradient",
    "values": "value",
    "grad_x_act": "grad_x_act",
    "fisher": "fisher",
    "hessian_diagonal": "hessian_diagonal",
}
"""What each quantity is called in the names of files."""

_MODES = ("mean_abs", "mean", "rms")  # a name may begin with another: the longer one first
_Panel = type[DistributionPanel] | type[ValuesPanel]
_KINDS = {"dimension": "activation", "feature": "feature"}  # what scatter plots are called by


@dataclass(frozen=True, slots=True, kw_only=True)
class Variant:
    """One way in which dimensions were aggregated.

    Attributes:
        name: As in file names: the mode, with ``_norm_sum`` or ``_norm_sum_abs`` if both exist.
        mode: ``mean``, ``mean_abs`` or ``rms``.
        tables: For each layer the numbers that are known, by dimension or feature, and, if it was
            measured, which are likely wrong.
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
        against = partial(
            draw_all_against, f"Direction against strength: {shown.title}", shown.means
        )
        yield Drawing(name="mean_against_mean_abs.png", make=against)


def _layer_figures(
    shown: Dimensions, variants: Sequence[Variant], name: str, end: str
) -> Iterator[Drawing]:
    """List each layer's distribution and values, those of several variants side by side."""
    scatter = f"{shown.noun if end else _KINDS[shown.index]}_scatter"
    sheets: dict[Hashable, _Sheet] = {}
    for layer in variants[0].tables:
        tables = [variant.tables[layer] for variant in variants]
        title = f"Layer {layer}: {shown.title}"
        for kind, panel in ((f"{shown.noun}_hist", DistributionPanel), (scatter, ValuesPanel)):
            yield Drawing(
                name=f"layer_{layer}{name}_{kind}{end}.png",
                is_overview=False,
                make=partial(_side_by_side, sheets, panel, title, tables),
            )


class _Sheet:
    """A figure that shows the same panels of one layer after another."""

    def __init__(
        self, panel: _Panel, title: str, tables: Sequence[Table], caption: Sequence[str]
    ) -> None:
        figure = figure_with_text(_width(tables), 4.1, title=title, caption=caption)
        panels = fixed_panels(figure, len(tables), len(tables))
        self._figure, self._caption = figure, caption
        self._panels = [panel(axes, table) for axes, table in zip(panels, tables, strict=True)]

    def show(self, title: str, tables: Sequence[Table]) -> Figure:
        rewrite(self._figure, title=title, caption=self._caption)
        for panel, table in zip(self._panels, tables, strict=True):
            panel.show(table)
        return self._figure


def _side_by_side(
    sheets: dict[Hashable, _Sheet], panel: _Panel, title: str, tables: Sequence[Table]
) -> Figure:
    """Draw tables on the sheet that has such panels, and room for so many lines of a title."""
    lines, _, _ = text_lines(_width(tables), title=title)
    is_crossed = panel is ValuesPanel and any(is_wrong(table).any() for table in tables)
    key = (panel, len(lines), is_crossed)
    if key not in sheets:
        sheets[key] = _Sheet(panel, title, tables, [CAPTION] if is_crossed else [])
    return sheets[key].show(title, tables)


def _width(tables: Sequence[Table]) -> float:
    return 8 if len(tables) == 1 else 13


def _all_layers_figures(shown: Dimensions, variant: Variant) -> Iterator[Drawing]:
    kinds = {
        f"{shown.noun}_histograms": draw_distributions,
        f"{_KINDS[shown.index]}_scatter": draw_all_values,
    }
    for kind, draw in kinds.items():
        make = partial(draw, f"All layers: {shown.title}", variant.tables)
        yield Drawing(name=f"all_layers_{variant.name}_{kind}.png", make=make)


def _wrong(results: Results, index: str) -> dict[int, Column]:
    """Find which dimensions or features of each layer are likely wrong; none if it is unknown."""
    if index == "feature":
        found = results.statistics
        layers = [int(layer) for layer in results.tables["layers"]["layer"]]
        keys = {layer: f"layer_{layer}_{COLUMN}" for layer in layers}
        return {layer: found[key] for layer, key in keys.items() if key in found}
    table = results.tables.get("dimensions")
    if table is None or COLUMN not in table:
        return {}
    layers = np.unique(table["layer"]).tolist()
    return {layer: table[COLUMN][table["layer"] == layer] for layer in layers}


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
    wrong = _wrong(results, index)
    for layer in layers:
        values = np.asarray(results.data[f"layer_{layer}_{name}"], dtype=np.float64)
        known = np.flatnonzero(~np.isnan(values))
        columns = {index: known, mode: values[known]}
        if layer in wrong:
            columns[COLUMN] = wrong[layer][known]
        tables[layer] = Table(name=name, columns=columns, units={mode: unit})
    return Variant(name=name, mode=mode, tables=tables)
