"""A grid of layers and tokens as colours, where "zero" is never a colour."""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.axes._secondary_axes import SecondaryAxis
from matplotlib.cm import ScalarMappable
from matplotlib.collections import PolyCollection
from matplotlib.colors import LogNorm, Normalize, SymLogNorm
from matplotlib.patches import Patch
from numpy.typing import NDArray

from backlight.surveys.tokens.figures.labels import label_of

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
_LEAST = 0.13  # inches from one name to the next
_DECADES = 6  # below the largest value, which one scale shows
_PIECE = re.compile(r"^(?P<piece>.+)_(?:first|middle|last|\d+)$")
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
        """Where a colour tells the value."""
        return ~(self.structural | self.absent | self.zero)

    def shown(self) -> NDArray[np.float64]:
        """Give the values that a colour tells."""
        return self.values[self.coloured]


@dataclass(frozen=True, slots=True, kw_only=True)
class Colours:
    """Which colour stands for which value.

    Attributes:
        norm: From values to 0..1; None if there is no value that a colour could show.
        colormap: Its colours.
        label: Of the colour bar: what the values are, with their unit.
        open_below: Some values are smaller than the scale's end, and have the colour of its end.
    """

    norm: Normalize | None
    colormap: str
    label: str
    open_below: bool = False

    @staticmethod
    def of_sizes(values: NDArray[np.float64], label: str) -> "Colours":
        """Choose a logarithmic scale for values above zero."""
        if not len(values):
            return Colours(norm=None, colormap="viridis", label=label)
        least, high = float(values.min()), float(values.max())
        low = max(least, high * 10.0**-_DECADES)
        ends = (low, high) if low < high else (high / 2, high * 2)
        return Colours(
            norm=LogNorm(*ends), colormap="viridis", label=label, open_below=least < ends[0]
        )

    @staticmethod
    def of_signed(values: NDArray[np.float64], label: str) -> "Colours":
        """Choose a scale around zero: linear to a hundredth of its end, logarithmic beyond."""
        if not len(values):
            return Colours(norm=None, colormap="RdBu_r", label=label)
        end = float(np.abs(values).max())
        return Colours(
            norm=SymLogNorm(linthresh=end / 100, vmin=-end, vmax=end),
            colormap="RdBu_r",
            label=label,
        )

    def bar(self) -> ScalarMappable | None:
        """Give what a colour bar shows; None if there is nothing to show."""
        return None if self.norm is None else ScalarMappable(self.norm, self.colormap)


def draw_cells(axes: Axes, cells: Cells, colours: Colours, *, positions: bool = True) -> None:
    """Draw a grid of layers and tokens.

    Args:
        axes: Where to draw; the caller owns the figure.
        cells: What to draw.
        colours: How values are coloured.
        positions: Write the names of positions above.
    """
    height, width = cells.values.shape
    if colours.norm is not None:
        axes.pcolormesh(
            np.arange(width + 1) - 0.5,
            np.arange(height + 1) - 0.5,
            np.ma.masked_array(cells.values, ~cells.coloured),
            norm=colours.norm,
            cmap=colours.colormap,
            edgecolors="white",
            linewidth=0.3,
        )
    for name, where in _uncoloured(cells):
        axes.add_collection(
            PolyCollection(_squares(where), gid=name, linewidth=0, **_LOOKS[name]), autolim=False
        )
    for place in _dividers(cells):
        axes.axvline(place - 0.5, color="#3d4450", linewidth=1.1, linestyle=":")
    axes.set(xlim=(-0.5, width - 0.5), ylim=(-0.5, height - 0.5))
    _name_rows(axes, cells.rows)
    name_columns(axes, cells, positions=positions)


def name_columns(axes: Axes, cells: Cells, *, positions: bool = True) -> None:
    """Write below each column what token stands there, and above how it is called.

    Args:
        axes: Where columns are at 0, 1, 2, ...; the caller owns the figure.
        cells: The columns.
        positions: Write the names above.
    """
    count, width = len(cells.tokens), _inches(axes)[0]
    step = _step(count, width)
    places = list(range(0, count, step))
    texts = [label_of(cells.tokens[place], cells.positions[place]) for place in places]
    _set_names(axes, places, texts, room=step * width / count, fontsize=8)
    if positions:
        above = axes.secondary_xaxis("top")
        names = [cells.positions[place] for place in places]
        _set_names(above, places, names, room=step * width / count, fontsize=7, color="#5a6472")
        above.tick_params(length=2)


def key_of(grids: Sequence[Cells]) -> list[tuple[Patch, str]]:
    """Give a legend's entries for the cells of some grids that have no colour.

    Args:
        grids: The grids.

    Returns:
        A patch and a name for each kind of them that occurs.
    """
    found = {name for cells in grids for name, _ in _uncoloured(cells)}
    return [
        (Patch(linewidth=0.4, **_LOOKS[name]), meaning)
        for name, meaning in _NAMES.items()
        if name in found
    ]


def _uncoloured(cells: Cells) -> Iterator[tuple[str, NDArray[np.bool_]]]:
    kinds = {
        STRUCTURAL: cells.structural & ~cells.absent,
        ZERO: cells.zero,
        ABSENT: cells.absent,
    }
    for name, where in kinds.items():
        if where.any():
            yield name, where


def _squares(where: NDArray[np.bool_]) -> list[list[tuple[float, float]]]:
    return [
        [(x - 0.5, y - 0.5), (x + 0.5, y - 0.5), (x + 0.5, y + 0.5), (x - 0.5, y + 0.5)]
        for y, x in np.argwhere(where).tolist()
    ]


def _dividers(cells: Cells) -> list[int]:
    """Find the columns that begin something: after a bracket or comma, and around a long field."""
    pieces = [_PIECE.match(name) for name in cells.positions]
    names = [
        name if match is None else match["piece"]
        for name, match in zip(cells.positions, pieces, strict=True)
    ]
    return [
        place
        for place, (before, after) in enumerate(pairwise(range(len(names))), start=1)
        if cells.tokens[before].strip() in _MARKS
        or (names[before] != names[after] and (pieces[before] or pieces[after]))
    ]


def _name_rows(axes: Axes, rows: Sequence[str]) -> None:
    step = _step(len(rows), _inches(axes)[1])
    places = list(range(0, len(rows), step))
    axes.set_yticks(places, [rows[place] for place in places], fontsize=8, parse_math=False)


def _set_names(
    axes: Axes | SecondaryAxis, places: list[int], names: list[str], *, room: float, **looks: Any
) -> None:
    longest = max(len(line) for name in names for line in [*name.split("\n"), ""])
    upright = longest * looks["fontsize"] * _LETTER > room
    texts = [name.replace("\n", " ") if upright else name for name in names]
    axes.set_xticks(places, texts, rotation=90 if upright else 0, parse_math=False, **looks)


def _step(count: int, inches: float) -> int:
    """Name only every so many, that names do not cover each other."""
    return max(1, int(np.ceil(_LEAST * count / inches)))


def _inches(axes: Axes) -> tuple[float, float]:
    figure = axes.get_figure(root=True)
    assert figure is not None
    box = axes.get_position()
    return box.width * figure.get_figwidth(), box.height * figure.get_figheight()
