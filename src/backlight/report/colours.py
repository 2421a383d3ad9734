"""Which colour stands for what: modes, members of a group, and numbers on a scale."""

import numpy as np
from matplotlib import colormaps
from matplotlib.colors import LogNorm, Normalize, SymLogNorm, to_hex
from numpy.typing import NDArray

MODES = {"mean": "#b5542b", "mean_abs": "#2b6cb0", "rms": "#2f855a"}
"""One colour for each aggregation mode, the same in all figures."""

STAR = "#d69e2e"
"""The colour of the largest values."""

PALETTE = (
    *("#1f77b4", "#d95f02", "#2ca02c", "#d62728", "#9467bd"),
    *("#8c564b", "#e377c2", "#bcbd22", "#17becf", "#1b1b4b"),
)
"""Colours that are told apart, for names without an order."""

SEQUENTIAL, DIVERGING = "viridis", "RdBu_r"
"""The colormaps of sizes, and of values on both sides of a middle."""


def shades(count: int) -> list[str]:
    """List so many colours, from dark to bright, for what has an order."""
    return [to_hex(rgb) for rgb in colormaps[SEQUENTIAL](np.linspace(0, 0.9, count))]


def of_sizes(values: NDArray[np.float64], *, decades: int) -> Normalize | None:
    """Choose a logarithmic scale for the values above zero.

    Args:
        values: The values; others than those above zero do not count.
        decades: How far below the largest value the scale reaches at most; at least one.

    Returns:
        From values to 0..1; None if none is above zero.
    """
    positive = values[np.isfinite(values) & (values > 0)]
    if not len(positive):
        return None
    high = float(positive.max())
    low = max(float(positive.min()), high * 10.0**-decades)
    # Over less than a decade there is no power of ten to be written beside the colours.
    beyond = 10 ** max((1 - float(np.log10(high / low))) / 2, 0.0)
    return LogNorm(low / beyond, high * beyond)


def around_zero(values: NDArray[np.float64]) -> Normalize | None:
    """Choose a scale around zero: linear to a hundredth of its end, logarithmic beyond.

    Args:
        values: The values, none of which is exactly zero.

    Returns:
        From values to 0..1; None if there are none.
    """
    if not len(values):
        return None
    end = float(np.abs(values).max())
    return SymLogNorm(linthresh=end / 100, vmin=-end, vmax=end)


def around_one(values: NDArray[np.float64], *, most: float) -> Normalize:
    """Choose a logarithmic scale around 1 for ratios, that ends at so many times at most."""
    positive = values[np.isfinite(values) & (values > 0)]
    farthest = float(np.abs(np.log(positive)).max(initial=0.0))
    end = float(np.exp(np.clip(farthest, np.log(2), np.log(most))))
    return LogNorm(1 / end, end)
