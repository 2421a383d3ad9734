"""Ratios of two sums over tokens that come in sequences, and how sure they are."""

from dataclasses import dataclass
from typing import final

import numpy as np
from jaxtyping import Float
from numpy.typing import NDArray
from torch import Tensor

from backlight.stats.base import State, as_array, taken

Vector = NDArray[np.float64]

_SUMS = ("above", "below", "above_square", "product", "below_square")


@dataclass(frozen=True, slots=True, kw_only=True)
class RatioResult:
    """Ratios of means, with sequences as clusters.

    Attributes:
        ratio: The sum of the numerators over the sum of the denominators; NaN where that is zero.
        se: Its standard error; NaN with fewer than two sequences.
        num_sequences: In how many sequences there was something to divide by.
    """

    ratio: Vector
    se: Vector
    num_sequences: NDArray[np.int64]

    def root(self) -> "RatioResult":
        """Take the root of each ratio, such as a root mean square, with its error."""
        root = np.sqrt(self.ratio)
        se = self.se / (2 * np.where(root > 0, root, np.nan))
        return RatioResult(ratio=root, se=se, num_sequences=self.num_sequences)


@final
class Ratios:
    """Sums of sequences, from which ratios and their clustered standard errors follow exactly.

    With A_m and B_m the sums of sequence m and R = sum A / sum B, the error is that of the ratio
    estimator, ``SE^2 = M / (M - 1) sum_m (A_m - R B_m)^2 / (sum B)^2`` (Cochran, Sampling
    Techniques, 1977, 6.5). A mean over tokens is a ratio whose denominators count tokens.
    """

    def __init__(self, width: int) -> None:
        """Start with nothing seen.

        Args:
            width: How many ratios.
        """
        self._sums: dict[str, Vector] = {name: np.zeros(width) for name in _SUMS}
        self._num_sequences = np.zeros(width, dtype=np.int64)

    def update(
        self, above: Float[Tensor, "sequences width"], below: Float[Tensor, "sequences width"]
    ) -> None:
        """Take in some whole sequences.

        Args:
            above: Each sequence's sums for the numerators.
            below: Each sequence's sums for the denominators.
        """
        one, other = as_array(above), as_array(below)
        found = {
            "above": one,
            "below": other,
            "above_square": np.square(one),
            "product": one * other,
            "below_square": np.square(other),
        }
        for name, values in found.items():
            self._sums[name] += values.sum(axis=0)
        self._num_sequences += (other != 0).sum(axis=0)

    def merge(self, other: "Ratios") -> None:
        """Take in what another has seen of other sequences."""
        for name in _SUMS:
            self._sums[name] = self._sums[name] + other._sums[name]
        self._num_sequences = self._num_sequences + other._num_sequences

    def state(self) -> State:
        """Give all that was seen as arrays; ``restore`` takes them back."""
        return {**self._sums, "num_sequences": self._num_sequences}

    def restore(self, state: State) -> None:
        """Forget what was seen and take over a state."""
        self._sums = {name: taken(state, name, self._sums[name]) for name in _SUMS}
        self._num_sequences = taken(state, "num_sequences", self._num_sequences)

    def result(self) -> RatioResult:
        """Compute the ratios and their errors."""
        sums, count = self._sums, self._num_sequences
        below = np.where(sums["below"] != 0, sums["below"], np.nan)
        ratio = sums["above"] / below
        spread = (
            sums["above_square"] - 2 * ratio * sums["product"] + ratio**2 * sums["below_square"]
        )
        correction = np.where(count >= 2, count / np.maximum(count - 1, 1), np.nan)
        return RatioResult(
            ratio=ratio,
            se=np.sqrt(correction * np.maximum(spread, 0.0)) / np.abs(below),
            num_sequences=count,
        )
