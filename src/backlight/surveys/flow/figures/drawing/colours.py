"""The colours of a gradient's strength."""

import numpy as np
from matplotlib.colors import LinearSegmentedColormap, LogNorm
from numpy.typing import NDArray

from backlight.surveys.flow.drawn.paths import Strength

_COLOURS = LinearSegmentedColormap.from_list(
    "strength", ["#b4e0c6", "#74c5ac", "#35a0a6", "#2a6f9b", "#333f80", "#221a4a"]
)  # from weak to strong


def colours(scale: Strength, norms: NDArray[np.float64] | float) -> NDArray[np.float64]:
    """Return the colours of bands, as red, green, blue and opacity."""
    values = np.maximum(np.asarray(norms, dtype=np.float64), scale.low)
    return np.asarray(_COLOURS(LogNorm(scale.low, scale.high)(values)))
