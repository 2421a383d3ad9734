"""A histogram with logarithmic bins that needs no range in advance."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import final

import numpy as np
import torch
from jaxtyping import Bool, Float
from numpy.typing import NDArray
from torch import Tensor

from backlight.stats.base import Sums

_SHIFT = 20  # of a float32's 23 bits of mantissa, 3 are kept: 8 bins in each octave
_NUM_BINS = 1 << (32 - _SHIFT)


@dataclass(frozen=True, slots=True, kw_only=True)
class HistogramResult:
    """Counts of values in bins ``lower <= value < upper`` (mirrored for negative values).

    Only bins between the lowest and the highest filled one of each sign are listed, in ascending
    order. The two bins next to zero hold zeros and numbers too small for a normal float32.

    Attributes:
        lower: The lower edge of each bin, in the unit of the values.
        upper: The upper edge.
        counts: How many values fell in.
    """

    lower: NDArray[np.float64]
    upper: NDArray[np.float64]
    counts: NDArray[np.int64]


@final
class LogHistogram(Sums):
    """One histogram of all values of all dimensions; its bins are float32's leading bits.

    The first twelve bits of a float32 are sign, exponent and three bits of mantissa. Read as a
    number they are a bin: eight to each doubling, over the whole range, at the cost of a shift. So
    no range must be known in advance, and histograms of different parts of a corpus add up bin by
    bin.
    """

    def __init__(self) -> None:
        super().__init__({"counts": np.zeros(_NUM_BINS, dtype=np.int64)})

    def update(
        self,
        values: Float[Tensor, "batch positions width"],
        *,
        valid: Bool[Tensor, "batch positions"],
        passages: Sequence[int],
    ) -> None:
        """See ``Moments.update``."""
        del passages
        bits = values.float().contiguous().view(torch.int32)
        # The shift keeps the sign of an int32; the mask makes the sign bit the bin's highest.
        bins = torch.bitwise_and(bits >> _SHIFT, _NUM_BINS - 1).flatten()
        counts = torch.bincount(bins, minlength=_NUM_BINS).cpu().numpy()
        counts[0] -= int((~valid).sum()) * values.shape[-1]  # pads are zero
        self._sums["counts"] += counts

    def result(self) -> HistogramResult:
        """List the filled range of bins in ascending order."""
        positive, negative = np.split(self._sums["counts"], 2)
        # Bins of negative numbers run away from zero, as their bits do.
        up, down = _filled(positive), _filled(negative)[::-1]
        return HistogramResult(
            lower=np.concatenate([-_edges(down + 1), _edges(up)]),
            upper=np.concatenate([-_edges(down), _edges(up + 1)]),
            counts=np.concatenate([negative[down], positive[up]]),
        )


def _edges(bins: NDArray[np.int64]) -> NDArray[np.float64]:
    """Return the smallest size in each bin: the float32 whose leading bits are its number."""
    return (bins.astype(np.uint32) << _SHIFT).view(np.float32).astype(np.float64)


def _filled(counts: NDArray[np.int64]) -> NDArray[np.int64]:
    filled = np.flatnonzero(counts)
    return np.arange(filled[0], filled[-1] + 1) if len(filled) else filled
