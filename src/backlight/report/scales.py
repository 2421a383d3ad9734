"""Scales of axes that zeros, wide bands and orders of magnitude do not break, and their numbers."""

from dataclasses import dataclass
from math import ceil, floor

import numpy as np
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter
from numpy.typing import NDArray

_RAISED = dict(zip(map(ord, "-0123456789"), "⁻⁰¹²³⁴⁵⁶⁷⁸⁹", strict=True))
_MINUS = "\u2212"
_NARROW = 50.0  # times, up to which a logarithmic axis needs more than powers of ten
_MOST_TICKS = 4
_LINEAR_PART = 0.9  # of the values lie where a signed common scale is still about linear


def brief(value: float) -> str:
    """Write a number with two digits, in as few signs as are needed."""
    text = f"{value:.2g}"
    lead, sign, power = text.partition("e")
    if sign and 0 < int(power) < 4:
        return f"{float(text):.0f}"
    return f"{lead}e{int(power)}" if sign else text


def power_of_ten(value: float) -> str:
    """Write a number with one digit: as 10⁻², 3·10⁻⁵ or 0.03."""
    lead, _, power = f"{value:.0e}".partition("e")
    is_power = lead in ("1", "-1") and int(power) not in (0, 1)
    if value == 0 or (not is_power and -3 < int(power) < 4):
        return f"{float(f'{value:.0e}'):g}".replace("-", _MINUS)
    times = {"1": "", "-1": "-"}.get(lead, f"{lead}\u00b7")
    return f"{times}10{str(int(power)).translate(_RAISED)}".replace("-", _MINUS)


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

    def transform(self, values: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return where values are on the scale."""
        if self.linear is None:
            return np.log10(values)
        return np.arcsinh(values / self.linear)

    def ticks(self) -> list[float]:
        """Choose at most five values that are numbered: round ones, or the ends and zero."""
        if self.linear is not None:
            return sorted({self.low, 0.0, self.high})
        low, high = np.log10([self.low, self.high]).tolist()
        powers = np.arange(ceil(low - 1e-9), floor(high + 1e-9) + 1)
        if len(powers) > 1:
            return [10.0**power for power in powers[:: -(-len(powers) // _MOST_TICKS)].tolist()]
        return sorted({self.low, self.high})

    def marks(self) -> list[float]:
        """List the multiples of powers of ten between the ends of a logarithmic scale."""
        if self.linear is not None:
            return []
        first, last = np.floor(np.log10([self.low, self.high])).astype(int)
        multiples = np.outer(10.0 ** np.arange(first, last + 1), np.arange(2, 10)).flatten()
        return multiples[(multiples >= self.low) & (multiples <= self.high)].tolist()

    def edges(self, num_bins: int) -> NDArray[np.float64]:
        """Divide the scale into bins that look equally wide on it."""
        if self.low == self.high:
            return np.linspace(self.low - 0.5, self.high + 0.5, num_bins + 1)
        if self.linear is None:
            return np.geomspace(self.low, self.high, num_bins + 1)
        # An asinh axis is linear in arcsinh(value / linear): even steps there look even.
        ends = np.arcsinh(np.array([self.low, self.high]) / self.linear)
        return np.sinh(np.linspace(ends[0], ends[1], num_bins + 1)) * self.linear
