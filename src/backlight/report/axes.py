"""A table onto axes: what each kind of picture looks like."""

from dataclasses import dataclass

import numpy as np
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.collections import QuadMesh
from matplotlib.ticker import FixedLocator, MaxNLocator
from numpy.typing import NDArray

from backlight.report.names import name_points
from backlight.tables import Table

MODE_COLOURS = {"mean": "#b5542b", "mean_abs": "#2b6cb0", "rms": "#2f855a"}
"""One colour for each aggregation mode, the same in all figures."""

_NORMAL_95 = 1.96
_TINY = float(np.finfo(np.float32).tiny)
_NUM_STARS, _NUM_SMALL_STARS = 20, 5
_MANY = 5000  # points, above which each is drawn finer
_SCIENTIFIC = (-2, 4)
_LINEAR_PART = 0.9  # of the values lie where a signed common scale is still about linear


def draw_distribution(axes: Axes, table: Table, column: str, *, colour: str, num_bins: int) -> None:
    """Draw how one layer's dimensions are distributed, with their mean.

    Args:
        axes: Where to draw; the caller owns the figure.
        table: A first column that counts, ``dimension`` or ``feature``, and the one to draw.
        column: Which to draw.
        colour: Of the bars.
        num_bins: How many bars.
    """
    values, plural = table[column], f"{_index(table)}s"
    counts, edges = np.histogram(values, bins=num_bins)
    _draw_bars(axes, counts, edges, colour=colour, mean=float(values.mean()))
    axes.ticklabel_format(axis="x", scilimits=_SCIENTIFIC)
    axes.set(xlabel=table.label(column), ylabel=f"number of {plural}")
    axes.legend([f"{len(values):,} {plural}", f"mean {values.mean():.3g}"], frameon=False)


def draw_distribution_on(
    axes: Axes, table: Table, column: str, scale: "CommonScale", *, colour: str, num_bins: int
) -> None:
    """Draw how one layer's dimensions are distributed, on a scale that all layers share.

    Args:
        axes: Where to draw; the caller owns the figure.
        table: The column to draw.
        column: Which to draw.
        scale: Of the values, horizontal.
        colour: Of the bars.
        num_bins: How many bars from end to end of the scale.
    """
    counts, edges = np.histogram(table[column], bins=scale.edges(num_bins))
    _draw_bars(axes, counts, edges, colour=colour, mean=float(table[column].mean()))
    axes.set_xscale(scale.name, **scale.options)
    scale.limit_ticks(axes.xaxis)


@dataclass(frozen=True, slots=True, kw_only=True)
class CommonScale:
    """A scale on which layers whose values differ by orders of magnitude can all be read.

    Logarithmic if all values are positive, else linear around zero and logarithmic beyond.

    Attributes:
        low: The smallest value.
        high: The largest.
        linear: Half the width of the linear part; None if there is none.
    """

    low: float
    high: float
    linear: float | None

    @staticmethod
    def of(values: NDArray[np.float64]) -> "CommonScale":
        """Find the scale for all layers' values together."""
        low, high = float(values.min()), float(values.max())
        if low > 0:
            return CommonScale(low=low, high=high, linear=None)
        sizes = np.abs(values[values != 0])
        linear = float(np.quantile(sizes, _LINEAR_PART)) if len(sizes) else 1.0
        return CommonScale(low=low, high=high, linear=linear)

    @property
    def name(self) -> str:
        """The scale, as matplotlib calls it."""
        return "log" if self.linear is None else "asinh"

    @property
    def options(self) -> dict[str, float]:
        """Its options."""
        return {} if self.linear is None else {"linear_width": self.linear}

    def limit_ticks(self, axis: Axis) -> None:
        """Keep the numbers along a signed scale from covering each other."""
        if self.linear is not None:
            axis.set_major_locator(FixedLocator([self.low, 0, self.high]))
            axis.set_major_formatter("{x:.0e}")

    def edges(self, num_bins: int) -> NDArray[np.float64]:
        """Divide the scale into bins that look equally wide on it."""
        if self.low == self.high:
            return np.linspace(self.low - 0.5, self.high + 0.5, num_bins + 1)
        if self.linear is None:
            return np.geomspace(self.low, self.high, num_bins + 1)
        ends = np.arcsinh(np.array([self.low, self.high]) / self.linear)
        return np.sinh(np.linspace(ends[0], ends[1], num_bins + 1)) * self.linear


def draw_dimensions(axes: Axes, table: Table, column: str, *, colour: str) -> None:
    """Draw each dimension's value, with the twenty largest starred and named.

    Args:
        axes: Where to draw; the caller owns the figure.
        table: A first column that counts, ``dimension`` or ``feature``, and the one to draw.
        column: Which to draw.
        colour: Of the points.
    """
    largest = _draw_points(axes, table, column, colour=colour, num_stars=_NUM_STARS)
    axes.margins(y=0.12)
    axes.ticklabel_format(axis="y", scilimits=_SCIENTIFIC)
    axes.set(xlabel=_index(table), ylabel=table.label(column))
    axes.autoscale_view()
    name_points(axes, table[_index(table)][largest], table[column][largest])


def draw_dimensions_on(
    axes: Axes, table: Table, column: str, scale: CommonScale, *, colour: str
) -> None:
    """Draw each dimension's value, with the five largest starred, on a scale that layers share.

    Args:
        axes: Where to draw; the caller owns the figure.
        table: A first column that counts, ``dimension`` or ``feature``, and the one to draw.
        column: Which to draw.
        scale: Of the values, vertical.
        colour: Of the points.
    """
    _draw_points(axes, table, column, colour=colour, num_stars=_NUM_SMALL_STARS)
    axes.set_yscale(scale.name, **scale.options)
    scale.limit_ticks(axes.yaxis)


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


def draw_spread_by_layer(axes: Axes, table: Table, column: str, *, colour: str) -> None:
    """Draw the average over dimensions against depth, their spread, and the largest.

    Args:
        axes: Where to draw; the caller owns the figure.
        table: Column ``layer``, the statistic, and its ``_std`` and ``_max``.
        column: The statistic.
        colour: Of line, band and points.
    """
    layers, values, spread = table["layer"], table[column], table[f"{column}_std"]
    axes.plot(layers, values, marker="o", markersize=3.5, color=colour, label="average")
    low, high = values - spread, values + spread
    axes.fill_between(layers, low, high, color=colour, alpha=0.25, linewidth=0, label="± std")
    axes.plot(
        layers,
        table[f"{column}_max"],
        linestyle="none",
        marker="*",
        color="#d69e2e",
        label="largest (absolute)",
    )
    if (values > 0).all() and column != "mean":
        axes.set_yscale("log")
    else:
        axes.axhline(0, color="black", linewidth=0.6)
    axes.set(xlabel="layer", ylabel=table.label(column))
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.legend(frameon=False, fontsize=8)


def draw_largest(
    axes: Axes, table: Table, column: str, *, error: str | None, colour: str, num_bars: int
) -> None:
    """Draw the largest values as bars, the largest on top, with 95 % error bars.

    Args:
        axes: Where to draw; the caller owns the figure.
        table: Column ``feature``, the statistic and its error.
        column: The statistic.
        error: The column of standard errors; None for none.
        colour: Of the bars.
        num_bars: How many.
    """
    order = np.argsort(-np.abs(table[column]), kind="stable")[:num_bars]
    names = [str(feature) for feature in table["feature"][order]]
    width = None if error is None else _NORMAL_95 * np.nan_to_num(table[error][order])
    axes.barh(names, table[column][order], xerr=width, color=colour, alpha=0.8, ecolor="#444444")
    axes.invert_yaxis()
    axes.tick_params(axis="y", labelsize=7)
    axes.ticklabel_format(axis="x", scilimits=_SCIENTIFIC)
    if (table[column][order] < 0).any():
        axes.axvline(0, color="black", linewidth=0.6)


def draw_against(axes: Axes, table: Table) -> None:
    """Draw the signed mean against the mean of absolute values, both over the largest of these.

    On the grey lines, a dimension always has one sign; on the middle one, signs cancel.

    Args:
        axes: Where to draw; the caller owns the figure.
        table: Columns ``mean`` and ``mean_abs`` of one layer.
    """
    largest = float(table["mean_abs"].max()) or 1.0
    for sign in (1, 0, -1):
        axes.plot([0, 1], [0, sign], color="grey", linewidth=0.7)
    axes.scatter(
        table["mean_abs"] / largest,
        table["mean"] / largest,
        s=4,
        color="#6b46c1",
        alpha=0.5,
        linewidths=0,
        rasterized=True,
    )


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
    filled = table["count"] > 0
    seen = filled & (sizes > _TINY)
    seen = seen if seen.any() else filled  # all was zero
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


def _index(table: Table) -> str:
    return next(iter(table.columns))


def _draw_bars(
    axes: Axes,
    counts: NDArray[np.int64],
    edges: NDArray[np.float64],
    *,
    colour: str,
    mean: float,
) -> None:
    axes.stairs(counts, edges, fill=True, color=colour, alpha=0.85)
    axes.axvline(mean, color="black", linewidth=1, linestyle="--")
    axes.set_yscale("symlog", linthresh=1)


def _draw_points(
    axes: Axes, table: Table, column: str, *, colour: str, num_stars: int
) -> NDArray[np.int64]:
    """Draw all dimensions and star the largest; say which those are."""
    dimensions, values = table[_index(table)], table[column]
    size, alpha = (5, 0.5) if len(values) <= _MANY else (1.5, 0.25)
    axes.scatter(
        dimensions, values, s=size, color=colour, alpha=alpha, linewidths=0, rasterized=True
    )
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
    return largest


def _quantile(values: NDArray[np.int64], counts: NDArray[np.int64], share: float) -> int:
    order = np.argsort(values, kind="stable")
    reached = np.cumsum(counts[order]) >= share * counts.sum()
    return int(values[order][reached.argmax()])
