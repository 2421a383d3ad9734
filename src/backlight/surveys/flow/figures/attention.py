"""What attention does to the gradient: maps of heads and layers, and of token distances."""

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import Normalize
from matplotlib.figure import Figure

from backlight.report.colours import DIVERGING, SEQUENTIAL, around_one
from backlight.report.layout import figure_with_text, panels_in
from backlight.report.maps import LEAST, add_bar, colour_cells, name_ticks
from backlight.report.wrong import COLUMN, MEANING
from backlight.surveys.flow.drawn.grids import Grid, heads_by_layer, layers_by_distance
from backlight.tables import Table

_MEASURES = {
    "shrink": "gradient that the softmax\npasses (1: as even weights)",
    "entropy": "entropy of the weights\n(1: even)",
    "largest": "largest weight\n(mean over tokens)",
    "saturation_share": "saturated tokens: softmax\npasses hardly anything",
    "query_key_share": "share of energy\nat queries and keys",
    "first_weight": "weight of\nthe first token",
    "first_scores_share": "first token's share\nof energy at scores",
    "first_v_share": "first token's share\nof energy at values",
}
_CAPTION = (
    "What the softmax passes: norm of the gradient at the scores over that at the weights, as "
    "a multiple of what even weights (1/n of n visible keys) would pass; blue: less, red: "
    "more. Entropy: over that of even weights. Saturated: share of tokens with at least two "
    "visible keys whose softmax has a Jacobian of trace 1 \u2212 \u03a3a\u00b2 below 0.01.",
    "Energy at queries and keys: over that at queries, keys and values. First token: its mean "
    "weight, and its share of the gradient's energy at scores and at values.",
)
_ALIKE = 1e-3  # shares of pairs, as far as they are written
_NO_VALUE = "#d5d9e0"
_CELL = 0.17  # inches, if there are not too many


def draw_heads(table: Table, *, subtitle: str) -> Figure:
    """Draw a map of heads and layers for each measure of how the gradient passes attention.

    Args:
        table: The table of heads.
        subtitle: What was measured.

    Returns:
        The figure.
    """
    grids = {name: heads_by_layer(table, name) for name in _MEASURES}
    num_heads, num_layers = grids["shrink"].values.shape
    width = float(np.clip(_CELL * num_layers + 1.5, 3.2, 8))
    height = float(np.clip(_CELL * num_heads + 1.0, 2.2, 6))
    columns = 4 if width < 4.5 else 2
    rows = -(-len(grids) // columns)
    blank = any(np.isnan(grid.values).any() for grid in grids.values())
    figure = figure_with_text(
        columns * width + 0.8,
        rows * height,
        title="What attention does to the gradient, head by head",
        subtitle=subtitle,
        caption=[*_CAPTION, "Grey: no value."] if blank else _CAPTION,
    )
    panels = panels_in(figure, len(grids), columns, sharex=True, sharey=True)
    for place, (axes, (name, grid)) in enumerate(zip(panels, grids.items(), strict=True)):
        if name == "shrink":
            _draw_grid(figure, axes, grid, around_one(grid.values, most=30), DIVERGING)
        else:
            _draw_grid(figure, axes, grid, Normalize(0, 1))
        axes.set_title(_MEASURES[name], fontsize=9)
        axes.set(
            xlabel="layer" if place >= len(grids) - columns else "",
            ylabel="" if place % columns else "head",
        )
    return figure


def draw_ablation(table: Table, *, subtitle: str) -> Figure:
    """Draw what the gradient predicts of setting each head to zero, with dots where likely wrong.

    Args:
        table: The table of heads, with the columns of the warning index.
        subtitle: What was measured.

    Returns:
        The figure.
    """
    grid = heads_by_layer(table, "predicted_change")
    rows, columns = np.nonzero(heads_by_layer(table, COLUMN).values == 1)
    num_heads, num_layers = grid.values.shape
    figure = figure_with_text(
        float(np.clip(2 * _CELL * num_layers + 1.5, 6, 13)),
        float(np.clip(1.5 * _CELL * num_heads + 1.0, 2.2, 8)),
        title="Change of the loss without each head, as the gradient predicts it",
        subtitle=subtitle,
        caption=[
            "To first order, setting a head's output to zero at all tokens; red: the loss rises.",
            *([f"Dot, likely wrong: {MEANING}"] if len(rows) else []),
        ],
    )
    axes = figure.subplots()
    known = np.abs(grid.values[np.isfinite(grid.values)])
    most = float(np.quantile(known, 0.98)) or 1.0  # one head can be far larger than all others
    _draw_grid(figure, axes, grid, Normalize(-most, most), DIVERGING)
    axes.scatter(columns, rows, s=5, color="black", gid=COLUMN)
    axes.set(xlabel="layer", ylabel="head", title=table.label("predicted_change"))
    return figure


def draw_distances(table: Table, *, subtitle: str) -> Figure:
    """Draw how the gradient's energy at the scores spreads over token distances, layer by layer.

    Args:
        table: The table of distances.
        subtitle: What was measured.

    Returns:
        The figure.
    """
    shares, pairs = (layers_by_distance(table, name) for name in ("share", "pairs"))
    ratio = Grid(values=shares.values / pairs.values, rows=shares.rows, columns=shares.columns)
    height = float(np.clip(0.2 * len(shares.rows) + 1.2, 2.6, 12))
    figure = figure_with_text(
        13,
        height,
        title="How far back in the text the gradient reaches through attention",
        subtitle=subtitle,
        caption=[
            "Energy of the gradient at the attention scores (what enters the softmax) by the "
            "distance from a query's token to a key's, in powers of two; distance 0 is the token "
            "itself. Mean over the heads of a layer; those of a layer add up to 1.",
            "Left: the share of each distance. Right: this share over that of the distance among "
            "all pairs of a query and a visible key; red, pairs of this distance carry more than "
            "their part, blue, less.",
            *(["Grey: no pairs that far apart."] if np.isnan(shares.values).any() else []),
        ],
    )
    left, right = figure.subplots(1, 2, sharey=True)
    known = shares.values[np.isfinite(shares.values)]
    highest = float(known.max(initial=0.0)) or 1.0
    _draw_grid(figure, left, shares, Normalize(0, highest))
    _draw_grid(figure, right, ratio, around_one(ratio.values, most=100), DIVERGING)
    left.set_title("share of the gradient's energy", fontsize=10)
    right.set_title("share over share of pairs", fontsize=10)
    left.set(xlabel="distance (tokens)", ylabel="layer")
    right.set(xlabel="distance (tokens)")
    _name_pairs(right, pairs)
    for axes in (left, right):
        axes.tick_params(axis="x", labelsize=7 if len(pairs.columns) > 9 else 8)
    return figure


def _draw_grid(
    figure: Figure, axes: Axes, grid: Grid, norm: Normalize, colormap: str = SEQUENTIAL
) -> None:
    """Draw a grid, grey where there is no value, with a bar that explains its colours."""
    mesh = colour_cells(axes, grid.values, norm, colormap)
    axes.set_facecolor(_NO_VALUE)
    for axis, names in ((axes.xaxis, grid.columns), (axes.yaxis, grid.rows)):
        name_ticks(axis, names, apart=LEAST * max(map(len, names)) ** 0.5, fontsize=8)
    add_bar(figure, [axes], mesh, grid.values, pad=0.02, aspect=22)


def _name_pairs(axes: Axes, pairs: Grid) -> None:
    """Write the share of pairs below each distance, if all layers have the same."""
    if np.ptp(pairs.values, axis=0).max() < _ALIKE:
        told = zip(pairs.columns, pairs.values[0], strict=True)
        names = [f"{name}\n({100 * share:.2g} %)" for name, share in told]
        axes.set_xticks(range(len(names)), names)
        axes.set_xlabel("distance (tokens), and its share of all pairs")
