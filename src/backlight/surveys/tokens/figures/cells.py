"""A grid of layers and tokens as colours, where "zero" is never a colour."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.axes._secondary_axes import SecondaryAxis
from matplotlib.cm import ScalarMappable
from matplotlib.collections import PolyCollection
from matplotlib.colors import Normalize
from matplotlib.patches import Patch
from numpy.typing import NDArray

from backlight.report.maps import colour_cells, length_of, name_ticks, places_to_name
from backlight.surveys.tokens.labels import label_of
from backlight.tables import Table

STRUCTURAL, ZERO, ABSENT = "structural", "zero", "absent"
"""The ``gid`` of the cells that have no colour, by the reason."""

_NAMES = {
    STRUCTURAL: "zero by causality",
    ZERO: "measured as exactly zero",
    ABSENT: "no such token in this prompt",
}
_LOOKS: dict[str, dict[str, Any]] = {
    STRUCTURAL: {"facecolor": "white", "edgecolor": "#8a94a3", "hatch": "/////"},
    ZERO: {"facecolor": "#c4c9d1", "edgecolor": "#c4c9d1"},
    ABSENT: {"facecolor": "white", "edgecolor": "#b5bcc7", "hatch": ".."},
}
_LETTER = 0.0092  # inches of width for each point of size, on average
_PIECE = re.compile(r"(?<=.)_(?:first|middle|last|\d+)$")  # of a field of several tokens
_MARKS = frozenset("(),;")


@dataclass(frozen=True, slots=True, kw_only=True)
class Cells:
    """One grid: rows are layers, the first at the bottom; columns are tokens in their order.

    Attributes:
        values: The numbers, ``[rows, columns]``; NaN where there is no such token.
        structural: Which are zero whatever the model's weights are.
        rows: What each row is called.
        tokens: The text of each column's token.
        positions: The name of each column.
    """

    values: NDArray[np.float64]
    structural: NDArray[np.bool_]
    rows: Sequence[str]
    tokens: Sequence[str]
    positions: Sequence[str]

    @property
    def absent(self) -> NDArray[np.bool_]:
        """Where there is no such token."""
        return np.isnan(self.values)

    @property
    def zero(self) -> NDArray[np.bool_]:
        """Where the value is exactly zero though it could be another."""
        return (self.values == 0) & ~self.structural

    @property
    def coloured(self) -> NDArray[np.bool_]:
        """Where a colour stands for the value."""
        return ~(self.structural | self.absent | self.zero)


def cells_of(table: Table, measure: str) -> Cells:
    """Arrange a table of one kind of site, and of whole vectors or one head, as a grid.

    Args:
        table: Rows of the table by site, head and position.
        measure: Which column.

    Returns:
        Sites x positions.
    """
    sites = list(dict.fromkeys(str(site) for site in table["site"]))
    width = table.num_rows // len(sites)
    layers = zip(sites, table["layer"][::width], strict=True)
    structural = (table["num_reaching"] == 0) & (measure != "activation_norm")
    return Cells(
        values=table[measure].reshape(-1, width),
        structural=structural.reshape(-1, width),
        rows=[site if np.isnan(layer) else str(int(layer)) for site, layer in layers],
        tokens=[str(token) for token in table["token"][:width]],
        positions=[str(name) for name in table["position"][:width]],
    )


def draw_cells(
    axes: Axes, cells: Cells, colours: ScalarMappable | None, *, positions: bool = True
) -> None:
    """Draw a grid of layers and tokens.

    Args:
        axes: Where to draw; the caller owns the figure.
        cells: What to draw.
        colours: How values are coloured; None if there are none.
        positions: Write the names of positions above.
    """
    height, width = cells.values.shape
    if colours is not None:
        values = np.where(cells.coloured, cells.values, np.nan)
        assert isinstance(colours.norm, Normalize)
        colour_cells(axes, values, colours.norm, colours.get_cmap().name)
    for name, where in _uncoloured(cells):
        axes.add_collection(
            PolyCollection(_squares(where), gid=name, linewidth=0, **_LOOKS[name]), autolim=False
        )
    for place in _dividers(cells):
        axes.axvline(place - 0.5, color="#3d4450", linewidth=1.1, linestyle=":")
    axes.set(xlim=(-0.5, width - 0.5), ylim=(-0.5, height - 0.5))
    name_ticks(axes.yaxis, cells.rows, fontsize=8)
    name_columns(axes, cells, positions=positions)


def name_columns(axes: Axes, cells: Cells, *, positions: bool = True) -> None:
    """Write below each column what token stands there, and above how it is called.

    Args:
        axes: Where columns are at 0, 1, 2, ...; the caller owns the figure.
        cells: The columns.
        positions: Write the names above.
    """
    places = places_to_name(axes.xaxis, len(cells.tokens))
    room = length_of(axes.xaxis) * places.step / len(cells.tokens)
    labels = [label_of(cells.tokens[place], cells.positions[place]) for place in places]
    _set_names(axes, places, labels, room=room, fontsize=8)
    if positions:
        above = axes.secondary_xaxis("top")
        names = [cells.positions[place] for place in places]
        _set_names(above, places, names, room=room, fontsize=7, color="#5a6472")
        above.tick_params(length=2)


def samples_of(grids: Sequence[Cells]) -> list[tuple[Patch, str]]:
    """List a legend's entries for the cells of some grids that have no colour.

    Args:
        grids: The grids.

    Returns:
        A patch and a name for each kind of them that occurs.
    """
    found = {name for cells in grids for name, _ in _uncoloured(cells)}
    kept = [(name, meaning) for name, meaning in _NAMES.items() if name in found]
    return [(Patch(linewidth=0.4, **_LOOKS[name]), meaning) for name, meaning in kept]


def _uncoloured(cells: Cells) -> list[tuple[str, NDArray[np.bool_]]]:
    structural = cells.structural & ~cells.absent
    kinds = ((STRUCTURAL, structural), (ZERO, cells.zero), (ABSENT, cells.absent))
    return [(name, where) for name, where in kinds if where.any()]


def _squares(where: NDArray[np.bool_]) -> list[list[tuple[float, float]]]:
    return [
        [(x - 0.5, y - 0.5), (x + 0.5, y - 0.5), (x + 0.5, y + 0.5), (x - 0.5, y + 0.5)]
        for y, x in np.argwhere(where).tolist()
    ]


def _dividers(cells: Cells) -> list[int]:
    """Find the columns that begin something: after a bracket or comma, and around a long field."""
    names = [_PIECE.sub("", name) for name in cells.positions]
    is_piece = [name != whole for name, whole in zip(names, cells.positions, strict=True)]
    return [
        place
        for place, (before, after) in enumerate(pairwise(range(len(names))), start=1)
        if cells.tokens[before].strip() in _MARKS
        or (names[before] != names[after] and (is_piece[before] or is_piece[after]))
    ]


def _set_names(
    axes: Axes | SecondaryAxis,
    places: Sequence[int],
    names: list[str],
    *,
    room: float,
    **looks: Any,
) -> None:
    """Write names below or above columns, upright if they are longer than a column is wide."""
    longest = max(len(line) for name in names for line in [*name.split("\n"), ""])
    upright = longest * looks["fontsize"] * _LETTER > room
    texts = [name.replace("\n", " ") if upright else name for name in names]
    axes.set_xticks(places, texts, rotation=90 if upright else 0, parse_math=False, **looks)
