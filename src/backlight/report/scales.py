"""Scales of axes that zeros, wide bands and orders of magnitude do not break, and their numbers."""

from dataclasses import dataclass

import numpy as np
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.ticker import FixedLocator, FuncFormatter, LogLocator, NullFormatter
from numpy.typing import NDArray

_NARROW = 50.0  # times, up to which a logarithmic axis needs more than powers of ten
_LINEAR_PART = 0.9  # of the values lie where a signed common scale is still about linear


def brief(value: float) -> str:
    """Write a number with two digits, in as few signs as are needed."""
    text = f"{value:.2g}"
    lead, sign, power = text.partition("e")
    if sign and 0 < int(power) < 4:
        return f"{float(text):.0f}"
    return f"{lead}e{int(power)}" if sign else text


def number_briefly(axis: Axis, leads: tuple[int, ...]) -> None:
    """Number a logarithmic axis at multiples of powers of ten.

    Args:
        axis: The axis.
        leads: The multiples, such as 1, 2 and 5.
    """
    axis.set_major_locator(LogLocator(subs=leads))
    axis.set_major_formatter(FuncFormatter(lambda value, _: brief(value)))
    axis.set_minor_formatter(NullFormatter())


def make_logarithmic(*panels: Axes) -> None:
    """Put panels on one logarithmic scale that shows all lines, not how far down bands reach.

    Args:
        *panels: Where lines were drawn; nothing is done if no value is above zero.
    """
    lines = [
        line.get_ydata()
        for axes in panels
        for line in axes.lines
        if line.get_transform().contains_branch_seperately(axes.transData)[1]  # or no data
    ]
    values = np.concatenate([np.empty(0), *(np.asarray(line, np.float64) for line in lines)])
    values = values[np.isfinite(values) & (values > 0)]
    for axes in panels if len(values) else ():
        axes.set_yscale("log")
        # A band may end a thousand times below its line; it is cut off, or the line would be flat.
        axes.set_ylim(bottom=float(values.min()) / 1.6)
        axes.yaxis.set_minor_formatter(NullFormatter())
        if values.max() < _NARROW * values.min():
            number_briefly(axes.yaxis, (1, 2, 5))


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
        # The largest values are few and far out: a quantile, unlike the maximum, leaves the many
        # others most of the axis.
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
        # An asinh axis is linear in arcsinh(value / linear): even steps there look even.
        ends = np.arcsinh(np.array([self.low, self.high]) / self.linear)
        return np.sinh(np.linspace(ends[0], ends[1], num_bins + 1)) * self.linear
