"""A table onto axes: what each kind of picture looks like."""

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.collections import QuadMesh
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
_NUM_STARS = 20
_SPREAD = 0.045  # labels closer than this part of the axis are moved apart


def draw_distribution(
    axes: Axes,
    table: Table,
    *,
    colour: str,
    num_bins: int,
    span: tuple[float, float] | None = None,
    label_axes: bool = True,
) -> None:
    """Draw how one layer's dimensions are distributed, with their mean.

    Args:
        axes: Where to draw; the caller owns the figure.
        table: Columns ``dimension`` and ``value``.
        colour: Of the bars.
        num_bins: How many bars.
        span: The range of the bars, where several pictures share one.
        label_axes: Write axis labels and the legend.
    """
    values = table["value"]
    axes.hist(values, bins=num_bins, range=span, color=colour, alpha=0.85)
    axes.axvline(float(values.mean()), color="black", linewidth=1, linestyle="--")
    axes.set_yscale("symlog", linthresh=1)
    axes.set_ylim(bottom=0)
    if label_axes:
        axes.set(xlabel=table.label("value"), ylabel="number of dimensions")
        axes.legend([f"mean {values.mean():.3g}", f"{len(values)} dimensions"], frameon=False)


def draw_dimensions(
    axes: Axes,
    table: Table,
    *,
    colour: str,
    num_stars: int = _NUM_STARS,
    label_axes: bool = True,
) -> None:
    """Draw each dimension's value, with the largest starred and named.

    Args:
        axes: Where to draw; the caller owns the figure.
        table: Columns ``dimension`` and ``value``.
        colour: Of the points.
        num_stars: How many of the largest are starred.
        label_axes: Write axis labels and the stars' names.
    """
    dimensions, values = table["dimension"], table["value"]
    axes.scatter(dimensions, values, s=5, color=colour, alpha=0.5, linewidths=0, rasterized=True)
    largest = np.argsort(-np.abs(values), kind="stable")[:num_stars]
    axes.scatter(
        dimensions[largest], values[largest], s=28, marker="*", color="#d69e2e", zorder=3,
        linewidths=0,
    )
    if (values < 0).any():
        axes.axhline(0, color="black", linewidth=0.6)
    if label_axes:
        axes.margins(y=0.12)
        _name_points(axes, dimensions[largest], values[largest])
        axes.set(xlabel="dimension", ylabel=table.label("value"))


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
    axes.xaxis.get_major_locator().set_params(integer=True)
    axes.legend(frameon=False)


def draw_against(axes: Axes, table: Table, *, label_axes: bool = True, limit: float) -> None:
    """Draw the signed mean against the mean of absolute values; between the lines lies all there is.

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
        table["mean_abs"], table["mean"], s=4, color="#6b46c1", alpha=0.5, linewidths=0,
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
    octaves = np.ceil(np.log2(np.maximum(sizes, np.finfo(np.float32).tiny))).astype(int)
    floor = _quantile(octaves, table["count"], 0.0005)
    rows = np.arange(floor, octaves.max() + 1)
    shares = np.full((len(rows), len(layers)), np.nan)
    for place, layer in enumerate(layers):
        own = table["layer"] == layer
        counts = np.bincount(
            np.maximum(octaves[own], floor) - floor, weights=table["count"][own], minlength=len(rows)
        )
        shares[:, place] = np.where(counts > 0, counts / counts.sum(), np.nan)
    edges = 2.0 ** np.arange(floor - 1, octaves.max() + 1)
    steps = np.append(layers, layers[-1] + 1) - 0.5
    mesh = axes.pcolormesh(steps, edges, 100 * shares, cmap="viridis", rasterized=True)
    axes.set_yscale("log")
    unit = table.units.get("upper")
    axes.set(xlabel="layer", ylabel=f"absolute value ({unit}), lowest row: all below" if unit else "")
    axes.xaxis.get_major_locator().set_params(integer=True)
    return mesh


def _quantile(values: NDArray[np.int64], counts: NDArray[np.int64], share: float) -> int:
    order = np.argsort(values, kind="stable")
    reached = np.cumsum(counts[order]) >= share * counts.sum()
    return int(values[order][reached.argmax()])


def _name_points(axes: Axes, x: Sequence[int], y: Sequence[float]) -> None:
    """Write each point's number beside it, moved apart where names would cover each other."""
    low, high = axes.get_ylim()
    left, right = axes.get_xlim()
    placed: list[tuple[float, float]] = []
    for number, value in zip(x, y, strict=True):
        across = (number - left) / (right - left)
        up = (value - low) / (high - low)
        while any(abs(across - a) < 1.3 * _SPREAD and abs(up - b) < _SPREAD for a, b in placed):
            up += _SPREAD if value >= 0 else -_SPREAD
        placed.append((across, up))
        axes.annotate(
            str(number),
            (across, up),
            xycoords="axes fraction",
            xytext=(4, 3),
            textcoords="offset points",
            fontsize=7,
            color="#444444",
        )
