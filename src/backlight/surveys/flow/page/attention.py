"""What attention does to the gradient: maps of heads and layers, and of token distances."""

import numpy as np
from numpy.typing import NDArray

from backlight.report.page.views import CellMap, Cells, Choice, Numbers, Scale
from backlight.report.wrong import COLUMN, COLUMNS_TOLD, has_warnings
from backlight.surveys.flow.drawn.grids import Grid, heads_by_layer, layers_by_distance
from backlight.tables import Table

_MEASURES: dict[str, tuple[str, Scale]] = {
    "shrink": ("what the softmax passes (1: even)", "linear"),
    "entropy": ("entropy of the weights (1: even)", "linear"),
    "largest": ("largest weight", "linear"),
    "saturation_share": ("share of saturated tokens", "linear"),
    "query_key_share": ("energy at queries and keys", "linear"),
    "first_weight": ("weight of the first token", "linear"),
    "first_scores_share": ("first token's energy at scores", "linear"),
    "first_k_share": ("first token's energy at keys", "linear"),
    "first_v_share": ("first token's energy at values", "linear"),
    "sink_weight": ("weight of the learned sink", "linear"),
    "z_norm": ("gradient norm at outputs", "log"),
    "v_norm": ("gradient norm at values", "log"),
    "weights_norm": ("gradient norm at weights", "log"),
    "scores_norm": ("gradient norm at scores", "log"),
    "q_norm": ("gradient norm at queries", "log"),
    "k_norm": ("gradient norm at keys", "log"),
}
_WARNINGS: dict[str, tuple[str, Scale]] = {
    "predicted_change": ("predicted change without the head", "signed"),
    "relative_size": ("relative size", "log"),
    "warning_index": ("warning index", "log"),
}
_ALL = {**_MEASURES, **_WARNINGS}
_MEAN = "mean over heads"


def head_map(table: Table) -> CellMap:
    """Show each measure of how the gradient passes attention, by head and layer.

    Args:
        table: The table of heads.

    Returns:
        The maps; a sink that no head has is not among them.
    """
    names = [name for name in _MEASURES if name != "sink_weight" or table[name].any()]
    told = ""
    if has_warnings(table):
        names += _WARNINGS
        told = f" {COLUMNS_TOLD} Those have a dot."
    grids = [heads_by_layer(table, name) for name in names]
    return CellMap(
        title="What attention does to the gradient, head by head",
        note="What the softmax passes: the gradient's norm at the scores over that at the weights, "
        "as a multiple of what even weights (1/n of n visible keys) would pass. Entropy: over that "
        "of even weights. Saturated: the softmax passes hardly anything (of tokens with at least "
        "two visible keys, its Jacobian has a trace below 0.01). Energy at queries and keys: over "
        "that at queries, keys and values. First token: its share of the gradient's energy, and "
        "its mean weight. Norms: root mean square over tokens. \u00b1: standard error, clustered "
        f"by passage. Grey: no value.{told}",
        rows=grids[0].rows,
        row_label="head",
        column_label="layer",
        choices=[Choice(label="Measure", options=[_ALL[name][0] for name in names])],
        reasons=["likely wrong"],
        maps={
            (place,): Cells(
                values=grid.values,
                errors=_errors(table, f"{name}_se"),
                label=_label(table, name),
                scale=_ALL[name][1],
                columns=grid.columns,
                marks=_dots(table) if name in _WARNINGS else None,
            )
            for place, (name, grid) in enumerate(zip(names, grids, strict=True))
        },
    )


def distance_map(table: Table) -> CellMap:
    """Show how the gradient's energy at the scores spreads over token distances, layer by layer.

    Args:
        table: The table of distances.

    Returns:
        The maps: of the mean over heads, then of each head.
    """
    whole = layers_by_distance(table, "share")
    maps = dict(enumerate(_distances(table, whole)))
    heads = np.unique(table["head"]).tolist() if np.ptp(table["head"]) else []
    found = {(place, 0): cells for place, cells in maps.items()}
    for number, head in enumerate(heads, start=1):
        own = table.select(table["head"] == head)
        for place, cells in enumerate(_distances(own, whole, with_errors=True)):
            found[place, number] = cells
    return CellMap(
        title="How far back in the text the gradient reaches through attention",
        note="Energy of the gradient at the attention scores (what enters the softmax) by the "
        "distance from a query's token to a key's, in powers of two; distance 0 is the token "
        "itself. Those of a layer add up to 1. Over the share of all pairs of a query and a "
        "visible key: above 1, pairs of this distance carry more than their part. Grey: no pairs "
        "that far apart.",
        rows=whole.rows,
        row_label="layer",
        column_label="distance (tokens)",
        choices=[
            Choice(
                label="Shown",
                options=[
                    "share of the gradient's energy",
                    "share over share of pairs",
                    "share of all pairs",
                ],
            ),
            Choice(label="Head", options=[_MEAN, *map(str, heads)]),
        ],
        maps=found,
    )


def _distances(table: Table, whole: Grid, *, with_errors: bool = False) -> list[Cells]:
    """Make the maps of some heads: share, share over share of pairs, and share of pairs."""
    names = ("share", "pairs", "share_se")
    share, pairs, errors = (_placed(layers_by_distance(table, name), whole) for name in names)
    found: list[tuple[str, Scale, Numbers, Numbers | None]] = [
        ("share of the gradient's energy", "linear", share, errors),
        ("share over share of pairs", "log", share / pairs, errors / pairs),
        ("share of all pairs", "linear", pairs, None),
    ]
    return [
        Cells(
            values=values,
            errors=error if with_errors else None,
            label=label,
            scale=scale,
            columns=whole.columns,
        )
        for label, scale, values, error in found
    ]


def _placed(grid: Grid, whole: Grid) -> Numbers:
    """Put the rows and columns of a grid where they are in that of all heads."""
    values = np.full(whole.values.shape, np.nan)
    rows = [whole.rows.index(name) for name in grid.rows]
    columns = [whole.columns.index(name) for name in grid.columns]
    values[np.ix_(rows, columns)] = grid.values
    return values


def _errors(table: Table, name: str) -> Numbers | None:
    return heads_by_layer(table, name).values if name in table else None


def _dots(table: Table) -> NDArray[np.int64]:
    """Mark the heads whose predictions are likely wrong."""
    return -(heads_by_layer(table, COLUMN).values == 1).astype(np.int64)


def _label(table: Table, name: str) -> str:
    unit = table.units.get(name) if name.endswith("_norm") or name in _WARNINGS else None
    return f"{_ALL[name][0]} ({unit})" if unit else _ALL[name][0]
