"""A table onto axes: what each kind of picture looks like."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection, QuadMesh
from matplotlib.ticker import MaxNLocator
from numpy.typing import NDArray

from backlight.tables import Table

__all__ = [
    "MODE_COLOURS",
    "draw_against",
    "draw_by_layer",
    "draw_density_by_layer",
    "draw_dimensions",
    "draw_distribution",
]

MODE_COLOURS = {"mean": "#b5542b", "mean_abs": "#2b6cb0", "rms": "#2f855a"}
"""One colour for each aggregation mode, the same in all figures."""

_NORMAL_95 = 1.96
_TINY = float(np.finfo(np.float32).tiny)
_NUM_STARS = 20
_AROUND = [
    (right, above * step)
    for step in (0.0, 0.04, 0.08, 0.12, 0.16, 0.2)
    for above in (1, -1)
    for right in (1, -1, 0)
    if right or step
]
"""Where a point's name is tried: right and left of it, then above and below, then farther off."""


def draw_distribution(
    axes: Axes,
    table: Table,
    column: str,
    *,
    colour: str,
    num_bins: int,
    span: tuple[float, float] | None = None,
    label_axes: bool = True,
) -> None:
    """Draw how one layer's dimensions are distributed, with their mean.

    Args:
        axes: Where to draw; the caller owns the figure.
        table: Column ``dimension`` and the one to draw.
        column: Which to draw.
        colour: Of the bars.
        num_bins: How many bars.
        span: The range of the bars, where several pictures share one.
        label_axes: Write axis labels and the legend.
    """
    values = table[column]
    counts, edges = np.histogram(values, bins=num_bins, range=span)
    axes.stairs(counts, edges, fill=True, color=colour, alpha=0.85)
    axes.axvline(float(values.mean()), color="black", linewidth=1, linestyle="--")
    axes.set_yscale("symlog", linthresh=1)
    axes.set_ylim(bottom=0)
    if label_axes:
        axes.set(xlabel=table.label(column), ylabel="number of dimensions")
        axes.legend([f"mean {values.mean():.3g}", f"{len(values)} dimensions"], frameon=False)


def draw_dimensions(
    axes: Axes,
    table: Table,
    column: str,
    *,
    colour: str,
    num_stars: int = _NUM_STARS,
    label_axes: bool = True,
) -> None:
    """Draw each dimension's value, with the largest starred and named.

    Args:
        axes: Where to draw; the caller owns the figure.
        table: Column ``dimension`` and the one to draw.
        column: Which to draw.
        colour: Of the points.
        num_stars: How many of the largest are starred.
        label_axes: Write axis labels and the stars' names.
    """
    dimensions, values = table["dimension"], table[column]
    axes.scatter(dimensions, values, s=5, color=colour, alpha=0.5, linewidths=0, rasterized=True)
    largest = np.argsort(-np.abs(values), kind="stable")[:num_stars]
    axes.scatter(
        dimensions[largest],
        values[largest],
        s=28,
        marker="*",
        color="#d69e2e",
        zorder=3,
        linewidths=0,
    )
    if (values < 0).any():
        axes.axhline(0, color="black", linewidth=0.6)
    if label_axes:
        axes.margins(y=0.12)
        _name_points(axes, dimensions[largest], values[largest])
        axes.set(xlabel="dimension", ylabel=table.label(column))


def draw_by_layer(
    axes: Axes, table: Table, column: str, *, colour: str, label: str, log: bool
) -> None:
    """Draw a statistic against depth, with the 95 % band of its standard error.

    Args:
        axes: Where to draw; the caller owns the figure.
        table: Column ``layer``, the statistic, and ``{statistic}_se``.
        column: The statistic.
        colour: Of line and band.
        label: What the legend calls it.
        log: Draw it on a logarithmic axis.
    """
    layers, values = table["layer"], table[column]
    error = _NORMAL_95 * np.nan_to_num(table[f"{column}_se"])
    axes.plot(layers, values, marker="o", markersize=3.5, color=colour, label=label)
    axes.fill_between(layers, values - error, values + error, color=colour, alpha=0.25, linewidth=0)
    if log:
        axes.set_yscale("log")
        axes.set_ylim(bottom=float(values.min()) / 1.5)
    else:
        axes.axhline(0, color="black", linewidth=0.6)
    axes.set(xlabel="layer", ylabel=table.label(column))
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.legend(frameon=False)


def draw_against(axes: Axes, table: Table, *, label_axes: bool = True, limit: float) -> None:
    """Draw the signed mean against the mean of absolute values, and the lines it cannot pass.

    Args:
        axes: Where to draw; the caller owns the figure.
        table: Columns ``mean`` and ``mean_abs``.
        label_axes: Write axis labels.
        limit: The largest ``mean_abs`` of all pictures that share the scale.
    """
    axes.plot([0, limit], [0, limit], color="grey", linewidth=0.7)
    axes.plot([0, limit], [0, -limit], color="grey", linewidth=0.7)
    axes.axhline(0, color="black", linewidth=0.6)
    axes.scatter(
        table["mean_abs"],
        table["mean"],
        s=4,
        color="#6b46c1",
        alpha=0.5,
        linewidths=0,
        rasterized=True,
    )
    if label_axes:
        axes.set(xlabel=table.label("mean_abs"), ylabel=table.label("mean"))


def draw_density_by_layer(axes: Axes, table: Table) -> QuadMesh:
    """Draw how large single values are, layer by layer: the share of each size.

    Args:
        axes: Where to draw; the caller owns the figure.
        table: Columns ``layer``, ``lower``, ``upper`` and ``count``: bins of signed values.

    Returns:
        The coloured mesh, for a colour bar.
    """
    layers = np.unique(table["layer"])
    sizes = np.maximum(np.abs(table["lower"]), np.abs(table["upper"]))
    octaves = np.ceil(np.log2(np.maximum(sizes, _TINY))).astype(int)
    seen = (sizes > _TINY) & (table["count"] > 0)
    floor, top = _quantile(octaves[seen], table["count"][seen], 0.0005), int(octaves[seen].max())
    shares = np.full((top - floor + 1, len(layers)), np.nan)
    for place, layer in enumerate(layers):
        own = table["layer"] == layer
        rows = np.maximum(octaves[own], floor) - floor
        counts = np.bincount(rows, weights=table["count"][own], minlength=len(shares))
        shares[:, place] = np.where(counts > 0, counts / counts.sum(), np.nan)
    edges = 2.0 ** np.arange(floor - 1, top + 1)
    steps = np.append(layers, layers[-1] + 1) - 0.5
    mesh = axes.pcolormesh(steps, edges, 100 * shares, cmap="viridis", rasterized=True)
    axes.set_yscale("log")
    unit = table.units["upper"]
    axes.set(xlabel="layer", ylabel=f"absolute value ({unit})\nlowest row: all below, and zeros")
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    return mesh


def _quantile(values: NDArray[np.int64], counts: NDArray[np.int64], share: float) -> int:
    order = np.argsort(values, kind="stable")
    reached = np.cumsum(counts[order]) >= share * counts.sum()
    return int(values[order][reached.argmax()])


def _name_points(axes: Axes, x: NDArray[np.int64], y: NDArray[np.float64]) -> None:
    """Write each point's number beside it, where no other name or named point is."""
    points = axes.transAxes.inverted().transform(axes.transData.transform(np.column_stack([x, y])))
    lines: list[list[tuple[float, float]]] = []
    boxes = [_Box(float(across), float(up), 0.006, 0.012) for across, up in points]
    for number, (across, up) in zip(x, points, strict=True):
        box = _free_place(float(across), float(up), len(str(number)), boxes)
        boxes.append(box)
        lines.append([(across, up), (box.x, box.y)])
        axes.text(
            box.x,
            box.y,
            str(number),
            transform=axes.transAxes,
            ha="center",
            va="center",
            fontsize=7,
            color="#444444",
            bbox={"facecolor": "white", "edgecolor": "none", "pad": 0.5},
        )
    leaders = LineCollection(
        lines, colors="#bbbbbb", linewidths=0.5, transform=axes.transAxes, zorder=2
    )
    axes.add_collection(leaders, autolim=False)


def _free_place(across: float, up: float, length: int, taken: Sequence["_Box"]) -> "_Box":
    half_width = 0.006 * length + 0.002
    places = [
        _Box(across + right * (half_width + 0.012), up + above, half_width, 0.018)
        for right, above in _AROUND
    ]
    free = (box for box in places if not any(box.overlaps(other) for other in taken))
    return next(free, places[0])


@dataclass(frozen=True, slots=True)
class _Box:
    """A rectangle in parts of the axes: its middle and half its sides."""

    x: float
    y: float
    half_width: float
    half_height: float

    def overlaps(self, other: "_Box") -> bool:
        return (
            abs(self.x - other.x) < self.half_width + other.half_width
            and abs(self.y - other.y) < self.half_height + other.half_height
        )
