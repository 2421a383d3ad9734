"""Ratios of two sums over tokens that come in sequences, and how sure they are."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import final

import numpy as np
from jaxtyping import Float, Shaped
from numpy.typing import NDArray
from torch import Tensor

from backlight.stats.base import Sums, as_array, wide

Vector = NDArray[np.float64]

_ABOVE = ("above", "above_square", "product")
_BELOW = ("below", "below_square")

Fraction = tuple[Tensor, Tensor]
"""Each sequence's sums above and below the line."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RatioResult:
    """Ratios of sums, with sequences as clusters.

    Attributes:
        ratio: The sum of the numerators over the sum of the denominators; NaN where that is zero.
        se: Its standard error; NaN with fewer than two sequences.
        below: The sum of the denominators: of a mean over tokens, how many tokens there were. One
            number where all ratios share their denominators.
        num_sequences: In how many sequences there was something to divide by, likewise.
    """

    ratio: Vector
    se: Vector
    below: Vector
    num_sequences: NDArray[np.int64]

    def root(self) -> "RatioResult":
        """Take the root of each ratio, such as a root mean square, with its error."""
        root = np.sqrt(self.ratio)
        # The delta method: a small error e of r is one of e / (2 sqrt(r)) of its root.
        se = self.se / (2 * np.where(root > 0, root, np.nan))
        return RatioResult(ratio=root, se=se, below=self.below, num_sequences=self.num_sequences)


@final
class Ratios(Sums):
    """Sums of sequences, from which ratios and their clustered standard errors follow exactly.

    A mean over tokens is a ratio whose denominators count tokens. Tokens of one sequence are not
    independent, sequences are taken to be. With A_m and B_m the sums of sequence m and
    R = sum A / sum B, the error is that of the ratio estimator,
    ``SE^2 = M / (M - 1) sum_m (A_m - R B_m)^2 / (sum B)^2`` (Cochran, Sampling Techniques, 1977,
    6.5). M counts the sequences that have something to divide by.
    """

    def __init__(self, width: int, *, shared_below: bool = False) -> None:
        """Start with nothing seen.

        Args:
            width: How many ratios.
            shared_below: All have the same denominators, such as the lengths of the sequences.
        """
        size = 1 if shared_below else width
        sums = {name: np.zeros(width) for name in _ABOVE} | {
            name: np.zeros(size) for name in _BELOW
        }
        super().__init__({**sums, "num_sequences": np.zeros(size, dtype=np.int64)})

    def update(
        self,
        above: Float[Tensor, "sequences width"],
        below: Shaped[Tensor, "sequences columns"],
    ) -> None:
        """Take in some whole sequences.

        Args:
            above: Each sequence's sums for the numerators.
            below: Each sequence's sums for the denominators: one column if they are shared.
        """
        above = wide(above)
        weights = below.to(above.dtype)
        # R is known at the end only, so the square in the error is kept as its three products.
        found = {
            "above": above,
            "below": weights,
            "above_square": above.square(),
            "product": above * weights,
            "below_square": weights.square(),
        }
        for name, values in found.items():
            self._sums[name] += as_array(values.sum(dim=0))
        self._sums["num_sequences"] += (below != 0).sum(dim=0).cpu().numpy()

    def result(self) -> RatioResult:
        """Compute the ratios and their errors."""
        sums, count = self._sums, self._sums["num_sequences"]
        below = np.where(sums["below"] != 0, sums["below"], np.nan)
        ratio = sums["above"] / below
        spread = (
            sums["above_square"] - 2 * ratio * sums["product"] + ratio**2 * sums["below_square"]
        )
        correction = np.where(count >= 2, count / np.maximum(count - 1, 1), np.nan)
        # Where all sequences agree, rounding can leave the spread a little below zero.
        return RatioResult(
            ratio=ratio,
            se=np.sqrt(correction * np.maximum(spread, 0.0)) / np.abs(below),
            below=sums["below"],
            num_sequences=count,
        )


@final
class NamedRatios(Sums):
    """Several kinds of ratios for each of many rows: the numbers behind a table."""

    def __init__(self, names: Sequence[str], num_rows: int) -> None:
        """Start with nothing seen.

        Args:
            names: What is measured of each row.
            num_rows: How many rows there are.
        """
        self._num_rows, self._ratios = num_rows, {name: Ratios(num_rows) for name in names}
        super().__init__(parts=self._ratios)

    def update(self, fractions: Mapping[str, Fraction]) -> None:
        """Take in some whole sequences.

        Args:
            fractions: By name, each sequence's sums above and below for each row; one number for
                each sequence if it is the same for all rows.
        """
        for name, ratios in self._ratios.items():
            above, below = fractions[name]
            ratios.update(self._by_row(above), self._by_row(below))

    def result(self) -> dict[str, RatioResult]:
        """Compute each ratio of each row, by name."""
        return {name: ratios.result() for name, ratios in self._ratios.items()}

    def _by_row(self, sums: Tensor) -> Tensor:
        return sums.reshape(len(sums), -1).expand(-1, self._num_rows)
