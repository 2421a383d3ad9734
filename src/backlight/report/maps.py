"""Maps: cells in colours, names along their sides, and a bar that explains the colours."""

from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.cm import ScalarMappable
from matplotlib.collections import QuadMesh
from matplotlib.colors import LogNorm, Normalize
from matplotlib.figure import Figure
from numpy.typing import NDArray

from backlight.report.scales import number_briefly

MAP = "map"
"""The ``gid`` of a map's cells."""

LEAST = 0.13
"""Inches from one name at an axis to the next, that they do not cover each other."""

_MANY = 2000  # cells, above which no lines are drawn between them


def colour_cells(
    axes: Axes, values: NDArray[np.float64], norm: Normalize, colormap: str
) -> QuadMesh:
    """Draw numbers as coloured squares around whole places, the first row at the bottom.

    Args:
        axes: Where to draw.
        values: ``[rows, columns]``; what is not finite is left blank.
        norm: From values to 0..1.
        colormap: The colours.

    Returns:
        What a bar of colours explains.
    """
    return axes.pcolormesh(
        *(np.arange(count + 1) - 0.5 for count in reversed(values.shape)),
        np.ma.masked_invalid(values),
        norm=norm,
        cmap=colormap,
        edgecolors="white",
        linewidth=0.3 if values.size < _MANY else 0,
        gid=MAP,
    )


def name_ticks(axis: Axis, names: Sequence[str], *, apart: float = LEAST, **looks: Any) -> None:
    """Name the places 0, 1, 2, ... of an axis, but only every so many if there is little room.

    Args:
        axis: The axis.
        names: The name of each place.
        apart: Inches from one name to the next, that they do not cover each other.
        **looks: How they are written.
    """
    places = places_to_name(axis, len(names), apart=apart)
    axis.set_ticks(places, [names[place] for place in places], parse_math=False, **looks)


def places_to_name(axis: Axis, count: int, *, apart: float = LEAST) -> range:
    """Choose every so many of an axis' places, so that names that far apart have room."""
    return range(0, count, max(1, int(np.ceil(apart * count / length_of(axis)))))


def length_of(axis: Axis) -> float:
    """Return how long an axis is, in inches."""
    figure, box = axis.axes.get_figure(root=True), axis.axes.get_position()
    assert figure is not None
    width, height = figure.get_size_inches()
    return float(box.width * width if axis is axis.axes.xaxis else box.height * height)


def add_bar(
    figure: Figure,
    panels: Sequence[Axes],
    mesh: ScalarMappable,
    values: NDArray[np.float64],
    **looks: Any,
) -> None:
    """Add a bar that explains colours, with pointed ends where there are values beyond its scale.

    Args:
        figure: Where there is room for it.
        panels: Beside which it stands.
        mesh: What has the colours.
        values: All that is shown in them.
        **looks: Options of ``Figure.colorbar``.
    """
    norm = mesh.norm
    assert isinstance(norm, Normalize)
    bar = figure.colorbar(mesh, ax=list(panels), extend=_open_ends(values, norm), **looks)
    bar.ax.tick_params(labelsize=7)
    if isinstance(norm, LogNorm):
        assert norm.vmin is not None
        assert norm.vmax is not None
        decades = np.log10(norm.vmax / norm.vmin)
        number_briefly(
            bar.ax.yaxis, (1, 2, 5) if decades < 1.8 else (1, 3) if decades < 4 else (1,)
        )
        bar.ax.minorticks_off()


def _open_ends(
    values: NDArray[np.float64], norm: Normalize
) -> Literal["neither", "min", "max", "both"]:
    """Find at which ends of a scale there are values beyond it."""
    assert norm.vmin is not None
    assert norm.vmax is not None
    below, above = bool((values < norm.vmin).any()), bool((values > norm.vmax).any())
    return "both" if below and above else "min" if below else "max" if above else "neither"
