"""Lines over positions and over layers: sizes of gradients, and shapes of their clouds."""

from collections.abc import Iterator, Sequence
from functools import partial

import numpy as np
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize
from matplotlib.figure import Figure

from backlight.models.sites import kind_of
from backlight.report.colours import PALETTE, SEQUENTIAL, shades
from backlight.report.drawing import Drawing
from backlight.report.layout import add_legend, figure_with_text
from backlight.report.lines import finish, interval, sample
from backlight.surveys.tokens.figures.cells import Cells, cells_of, name_columns
from backlight.surveys.tokens.labels import explain_labels
from backlight.surveys.tokens.shown import Shown
from backlight.tables import Table

_MOST_NAMED = 8  # layers, above which a bar tells them apart
_SHAPES = {
    "effective_rank": "effective rank (directions)",
    "mean_cosine": "mean cosine",
    "pc1": "share of PC1 (%)",
}


def draw_by_position(shown: Shown) -> Iterator[Drawing]:
    """List the gradient's norm along the prompt, a line for each layer, with 95 % bars.

    Args:
        shown: What to show.

    Yields:
        The figure of each kind of site, not yet drawn.
    """
    for kind in shown.kinds:
        whole, _ = shown.input_of(kind)
        name = f"gradient_norm_by_position{shown.suffix_of(kind)}"
        yield Drawing(name=name, make=partial(_draw_lines, shown, kind, whole))


def draw_geometry_by_layer(shown: Shown) -> Iterator[Drawing]:
    """List how the shape of the cloud of gradient vectors changes with depth.

    Args:
        shown: What to show.

    Yields:
        The figure of each kind of site in layers, not yet drawn.
    """
    geometry = shown.geometry
    kinds = np.array([kind_of(str(site)) for site in geometry["site"]])
    for kind in dict.fromkeys(kinds.tolist()):
        own = geometry.select((kinds == kind) & ~np.isnan(geometry["layer"]))
        if np.isfinite(own["pc1"]).any():
            name = f"geometry_by_layer{shown.suffix_of(kind)}"
            yield Drawing(name=name, make=partial(_draw_shapes, shown, kind, own))


def _draw_lines(shown: Shown, kind: str, table: Table) -> Figure:
    cells, errors = cells_of(table, "gradient_norm"), cells_of(table, "gradient_norm_se")
    figure = figure_with_text(
        min(max(0.5 * len(cells.tokens) + 2.2, 8.5), 30),
        5.5,
        title=f"Norm of the gradient along the prompt, {kind}",
        subtitle=shown.title,
        caption=[
            f"Mean over {shown.of_prompts}, with bars of 95 % (1.96 standard errors of a mean "
            "over independent prompts; no bar where only one has the position).",
            *explain_labels(table, shown.prompts.num_rows),
            *_left_out(cells),
        ],
    )
    axes, colours = figure.subplots(), shades(len(cells.rows))
    for number, colour in enumerate(colours):
        _draw_line(axes, cells, errors, number, colour)
    _show_all(axes, cells)
    finish(axes, y=f"mean {table.label('gradient_norm')}", x="token of the input")
    axes.grid(visible=False, axis="x")
    axes.set_xlim(-0.6, len(cells.tokens) - 0.4)
    name_columns(axes, cells)
    _explain_colours(figure, axes, cells.rows, colours)
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
    # Few lines stand a little beside each other, so that their bars can be told apart.
    aside = 0.0 if count > _MOST_NAMED else 0.07 * (number - (count - 1) / 2)
    values = np.where(cells.coloured[number], cells.values[number], np.nan)
    low, high = interval(values, np.nan_to_num(errors.values[number]))
    axes.errorbar(
        np.arange(len(values)) + aside,
        values,
        yerr=np.nan_to_num([values - low, high - values]),
        color=colour,
        marker="o",
        markersize=3.5 if count <= _MOST_NAMED else 2.5,
        linewidth=1.2,
        elinewidth=0.9,
        capsize=1.5,
        label=cells.rows[number],
    )


def _show_all(axes: Axes, cells: Cells) -> None:
    """Choose a logarithmic scale that shows all means, not how far down bars reach."""
    values = cells.values[cells.coloured]
    if len(values):
        axes.set_yscale("log")
        axes.set_ylim(bottom=float(values.min()) / 1.6)


def _explain_colours(
    figure: Figure, axes: Axes, rows: Sequence[str], colours: Sequence[str]
) -> None:
    """Explain which colour is which layer, the last on top, as in the heatmap."""
    if len(rows) > _MOST_NAMED:
        bar = ScalarMappable(Normalize(int(rows[0]), int(rows[-1])), SEQUENTIAL)
        figure.colorbar(bar, ax=axes, label="layer", pad=0.01)
        return
    names = [f"layer {row}" if row.isdigit() else row for row in rows]
    samples = [sample(colour, "o") for colour in colours]
    add_legend(axes, [*zip(samples, names, strict=True)][::-1])


def _draw_shapes(shown: Shown, kind: str, table: Table) -> Figure:
    figure = figure_with_text(
        12.5,
        3.6,
        title=f"Shape of the cloud of gradient vectors, {kind}",
        subtitle=shown.title,
        caption=[
            "Of the gradient vectors of all prompts at one layer and position. Effective rank: how "
            "many directions they use; with so many prompts it cannot be more than "
            f"{shown.prompts.num_rows - 1:,}. Mean cosine: 1 if all gradients point the same way, "
            "about 0 if they point anywhere. PC1: how much of their variance lies along a single "
            "direction. Places that are zero by causality are left out.",
        ],
    )
    panels = figure.subplots(1, len(_SHAPES))
    positions = [str(name) for name in dict.fromkeys(table["position"])]
    colours = PALETTE if len(positions) <= len(PALETTE) else shades(len(positions))
    named = list(zip(positions, colours, strict=False))
    for axes, (column, label) in zip(panels, _SHAPES.items(), strict=True):
        for position, colour in named:
            own = table.select(table["position"] == position)
            values = own[column] * (100 if column == "pc1" else 1)
            axes.plot(own["layer"], values, color=colour, marker="o", markersize=3.5)
        finish(axes, y=label)
        if column == "mean_cosine":
            axes.axhline(0, color="#777777", linewidth=0.7)
        else:
            axes.set_ylim(bottom=0)
    entries = [(sample(colour, "o"), position) for position, colour in named]
    add_legend(panels[-1], entries, title="position")
    return figure
