"""Lines over positions and over layers: sizes of gradients, and shapes of their clouds."""

from collections.abc import Iterator, Sequence

import numpy as np
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize, to_hex
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator
from numpy.typing import NDArray

from backlight.models.sites import kind_of
from backlight.report.layout import Words, add_legend, sheet
from backlight.surveys.tokens.figures.grids import Grids, cells_of, of_prompts, suffix_of
from backlight.surveys.tokens.figures.heatmap import Cells, name_columns
from backlight.surveys.tokens.figures.labels import explain_labels
from backlight.tables import Table

_NORMAL_95 = 1.96
_MOST_NAMED = 8  # layers, above which a bar tells them apart
_SHAPES = {
    "effective_rank": "effective rank (directions)",
    "mean_cosine": "mean cosine",
    "pc1": "share of PC1 (%)",
}
_HUES = ("#1f77b4", "#d95f02", "#2ca02c", "#9467bd", "#d62728", "#8c564b", "#e377c2", "#17becf")


def draw_by_position(grids: Grids) -> Iterator[tuple[str, Figure]]:
    """Draw the gradient's norm along the prompt, a line for each layer, with 95 % bars.

    Args:
        grids: What to show.

    Yields:
        The name of each figure's file, and the figure, for each kind of site.
    """
    for kind in grids.kinds:
        table = grids.input_of(kind)
        whole = table.select(np.isnan(table["head"]))
        yield (
            f"gradient_norm_by_position{suffix_of(kind, grids.kinds)}.png",
            _lines(grids, kind, whole),
        )


def draw_geometry_by_layer(
    geometry: Table, subtitle: str, num_prompts: int
) -> Iterator[tuple[str, Figure]]:
    """Draw how the shape of the cloud of gradient vectors changes with depth.

    Args:
        geometry: The table by site and target position.
        subtitle: What was measured.
        num_prompts: How many vectors there are at most.

    Yields:
        The name of each figure's file, and the figure, for each kind of site in layers.
    """
    kinds = np.array([kind_of(str(site)) for site in geometry["site"]])
    names = list(dict.fromkeys(kinds.tolist()))
    for kind in names:
        own = geometry.select((kinds == kind) & ~np.isnan(geometry["layer"]))
        if np.isfinite(own["pc1"]).any():
            yield (
                f"geometry_by_layer{suffix_of(kind, names)}.png",
                _shapes(own, kind, subtitle, num_prompts),
            )


def _lines(grids: Grids, kind: str, table: Table) -> Figure:
    cells, errors = cells_of(table, "gradient_norm"), cells_of(table, "gradient_norm_se")
    words = Words(
        title=f"Norm of the gradient along the prompt, {kind}",
        subtitle=grids.title,
        caption=[
            f"Mean over {of_prompts(grids)}, with bars of 95 % (1.96 standard errors of a mean "
            "over independent prompts; no bar where only one has the position).",
            *explain_labels(table, grids.prompts.num_rows),
            *_left_out(cells),
        ],
    )
    width = min(max(0.5 * len(cells.tokens) + 2.2, 8.5), 30)
    figure = sheet(width, 5.5, words)
    axes = figure.subplots()
    shades = _shades(len(cells.rows))
    for number, colour in enumerate(shades):
        _draw_line(axes, cells, errors, number, colour)
    if cells.coloured.any():
        axes.set_yscale("log")
    axes.set(
        xlim=(-0.6, len(cells.tokens) - 0.4),
        xlabel="token of the input",
        ylabel=f"mean {table.label('gradient_norm')}",
    )
    axes.grid(axis="y", color="#dddddd", linewidth=0.6)
    axes.set_axisbelow(True)
    name_columns(axes, cells)
    _tell_layers(figure, axes, cells.rows, shades)
    return figure


def _left_out(cells: Cells) -> list[str]:
    lines: list[str] = []
    if cells.structural.any():
        lines.append("Places that are zero by causality are left out.")
    if cells.zero.any():
        lines.append("So are means that are exactly zero, for which this scale has no place.")
    return lines


def _draw_line(axes: Axes, cells: Cells, errors: Cells, number: int, colour: str) -> None:
    count = len(cells.rows)
    aside = 0.0 if count > _MOST_NAMED else 0.07 * (number - (count - 1) / 2)
    places = np.arange(len(cells.tokens)) + aside
    values = np.where(cells.coloured[number], cells.values[number], np.nan)
    widths = _NORMAL_95 * np.nan_to_num(errors.values[number])
    widths = np.where(np.isfinite(values), widths, 0.0)
    # A bar that reaches below zero has no lower end on this scale: it ends at the frame.
    below = np.minimum(widths, np.nan_to_num(values) * 0.999)
    axes.errorbar(
        places,
        values,
        yerr=[below, widths],
        color=colour,
        marker="o",
        markersize=3.5 if count <= _MOST_NAMED else 2.5,
        linewidth=1.2,
        elinewidth=0.9,
        capsize=1.5,
        label=cells.rows[number],
    )
    positive = values[np.isfinite(values)]
    if len(positive):
        low = float(positive.min()) / 1.6
        previous = axes.get_ylim()[0] if number and axes.get_ylim()[0] > 0 else low
        axes.set_ylim(bottom=min(low, previous))


def _tell_layers(figure: Figure, axes: Axes, rows: Sequence[str], shades: Sequence[str]) -> None:
    """Tell which colour is which layer, the last on top, as in the heatmap."""
    if len(rows) <= _MOST_NAMED:
        entries = [
            (Line2D([], [], color=colour, marker="o", markersize=3.5), f"layer {row}")
            for row, colour in zip(rows, shades, strict=True)
            if row.isdigit()
        ] or [
            (Line2D([], [], color=colour, marker="o"), row)
            for row, colour in zip(rows, shades, strict=True)
        ]
        add_legend(axes, entries[::-1])
        return
    numbers = [int(row) for row in rows]
    bar = ScalarMappable(Normalize(numbers[0], numbers[-1]), "viridis")
    figure.colorbar(bar, ax=axes, label="layer", pad=0.01)


def _shapes(table: Table, kind: str, subtitle: str, num_prompts: int) -> Figure:
    words = Words(
        title=f"Shape of the cloud of gradient vectors, {kind}",
        subtitle=subtitle,
        caption=[
            "Of the gradient vectors of all prompts at one layer and position. Effective rank: how "
            "many directions they use; with so many prompts it cannot be more than "
            f"{num_prompts - 1:,}. Mean cosine: 1 if all gradients point the same way, about 0 if "
            "they point anywhere. PC1: how much of their variance lies along a single direction. "
            "Places that are zero by causality are left out.",
        ],
    )
    figure = sheet(12.5, 3.6, words)
    panels = figure.subplots(1, len(_SHAPES))
    positions = [str(name) for name in dict.fromkeys(table["position"])]
    hues = _HUES if len(positions) <= len(_HUES) else _shades(len(positions))
    for axes, (column, label) in zip(panels, _SHAPES.items(), strict=True):
        for position, colour in zip(positions, hues, strict=False):
            own = table.select(table["position"] == position)
            values = own[column] * (100 if column == "pc1" else 1)
            axes.plot(own["layer"], values, color=colour, marker="o", markersize=3.5)
        axes.set(xlabel="layer", ylabel=label)
        axes.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
        axes.grid(color="#e3e3e3", linewidth=0.6)
    panels[1].axhline(0, color="#777777", linewidth=0.7)
    _from_zero(panels[0])
    _from_zero(panels[2])
    entries = [
        (Line2D([], [], color=colour, marker="o", markersize=3.5), position)
        for position, colour in zip(positions, hues, strict=False)
    ]
    add_legend(panels[-1], entries, title="position")
    return figure


def _from_zero(axes: Axes) -> None:
    axes.set_ylim(bottom=0)


def _shades(count: int) -> list[str]:
    places: NDArray[np.float64] = np.linspace(0, 0.92, count)
    return [to_hex(rgb) for rgb in colormaps["viridis"](places)]
