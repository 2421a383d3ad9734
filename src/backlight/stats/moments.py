"""Means, magnitudes and their errors, for each dimension, with sequences as clusters."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, final

import numpy as np
from jaxtyping import Bool, Float
from numpy.typing import NDArray
from torch import Tensor

from backlight.stats.base import Sums, as_array, wide
from backlight.stats.ratio import Ratios

Vector = NDArray[np.float64]


@dataclass(frozen=True, slots=True, kw_only=True)
class MomentResult:
    """Statistics of each dimension over all tokens seen, in the unit of the values.

    Attributes:
        num_tokens: How many tokens were seen.
        num_sequences: How many sequences they came in.
        mean: The signed mean.
        mean_se: Its standard error, with sequences as clusters; NaN with fewer than two.
        mean_abs: The mean of absolute values.
        mean_abs_se: Its standard error, likewise.
        rms: The root of the mean square.
        std: The standard deviation over tokens (divided by N, not N - 1).
        max_abs: The largest absolute value.
    """

    num_tokens: int
    num_sequences: int
    mean: Vector
    mean_se: Vector
    mean_abs: Vector
    mean_abs_se: Vector
    rms: Vector
    std: Vector
    max_abs: Vector


@final
class Moments(Sums):
    """Sums from which means and their clustered standard errors follow exactly."""

    _maxima: ClassVar[frozenset[str]] = frozenset({"max_abs"})

    def __init__(self, width: int) -> None:
        self._mean, self._mean_abs = (Ratios(width, shared_below=True) for _ in range(2))
        super().__init__(
            {"sum_square": np.zeros(width), "max_abs": np.zeros(width)},
            {"mean": self._mean, "mean_abs": self._mean_abs},
        )

    def update(
        self,
        values: Float[Tensor, "batch positions width"],
        *,
        valid: Bool[Tensor, "batch positions"],
        passages: Sequence[int],
    ) -> None:
        """Take in a batch of whole sequences.

        Args:
            values: Some numbers for each token; zero where there is no token.
            valid: Where there is a token.
            passages: Which passage of the corpus each sequence is.
        """
        del passages
        precise, sizes = wide(values), values.abs()
        lengths = valid.sum(dim=1, keepdim=True)
        self._mean.update(precise.sum(dim=1), lengths)
        self._mean_abs.update(wide(sizes).sum(dim=1), lengths)
        self._sums["sum_square"] += as_array(precise.square().sum(dim=(0, 1)))
        self._sums["max_abs"] = np.maximum(self._sums["max_abs"], as_array(sizes.amax(dim=(0, 1))))

    def result(self) -> MomentResult:
        """Compute the statistics of all tokens seen so far; there must be one at least."""
        mean, mean_abs = self._mean.result(), self._mean_abs.result()
        count = int(mean.below[0])
        assert count > 0, "no token was seen"
        mean_square = self._sums["sum_square"] / count
        return MomentResult(
            num_tokens=count,
            num_sequences=int(mean.num_sequences[0]),
            mean=mean.ratio,
            mean_se=mean.se,
            mean_abs=mean_abs.ratio,
            mean_abs_se=mean_abs.se,
            rms=np.sqrt(mean_square),
            std=np.sqrt(np.maximum(mean_square - mean.ratio**2, 0.0)),
            max_abs=self._sums["max_abs"],
        )
