"""A mean over tokens that come in sequences, and how sure it is."""

from dataclasses import dataclass
from typing import Any, final

import numpy as np
from jaxtyping import Float, Int
from numpy.typing import NDArray
from torch import Tensor

from backlight.stats.base import State, as_array, taken

Vector = NDArray[np.float64]
Counts = NDArray[np.int64]

_SUMS = ("sum", "square", "weighted")
_COUNTS = ("num_tokens", "num_sequences", "squared_lengths")


@dataclass(frozen=True, slots=True, kw_only=True)
class MeanResult:
    """The mean of each dimension, with sequences as clusters.

    Attributes:
        mean: The mean over tokens; NaN where there is no token.
        se: Its standard error; NaN with fewer than two sequences.
        num_tokens: Over how many tokens: one number for all dimensions, or one for each.
        num_sequences: In how many sequences these were, likewise.
    """

    mean: Vector
    se: Vector
    num_tokens: Counts
    num_sequences: Counts


@final
class ClusterMean:
    """Sums of sequences, from which a mean and its clustered standard error follow exactly."""

    def __init__(self, width: int, *, count_each: bool = False) -> None:
        """Start with nothing seen.

        Args:
            width: How many dimensions.
            count_each: Each dimension has tokens of its own (those at which a feature fires).
        """
        self._sums: dict[str, Vector] = {name: np.zeros(width) for name in _SUMS}
        size = width if count_each else 1
        self._counts: dict[str, Counts] = {name: np.zeros(size, dtype=np.int64) for name in _COUNTS}

    def update(
        self,
        sums: Float[Tensor, "sequences width"],
        lengths: Int[Tensor, "sequences width"] | Int[Tensor, "sequences 1"],
    ) -> None:
        """Take in some whole sequences.

        Args:
            sums: Each sequence's sum over its tokens.
            lengths: Over how many tokens it was taken.
        """
        weights = lengths.to(sums.dtype)
        found = {
            "sum": sums.sum(dim=0),
            "square": sums.square().sum(dim=0),
            "weighted": (sums * weights).sum(dim=0),
        }
        for name, tensor in found.items():
            self._sums[name] += as_array(tensor)
        counted = {
            "num_tokens": lengths.sum(dim=0),
            "num_sequences": (lengths > 0).sum(dim=0),
            "squared_lengths": lengths.square().sum(dim=0),
        }
        for name, tensor in counted.items():
            self._counts[name] += tensor.cpu().numpy()

    def merge(self, other: "ClusterMean") -> None:
        """Take in what another has seen of other sequences."""
        for name in _SUMS:
            self._sums[name] = self._sums[name] + other._sums[name]
        for name in _COUNTS:
            self._counts[name] = self._counts[name] + other._counts[name]

    def state(self) -> State:
        """Give all that was seen as arrays; ``restore`` takes them back."""
        return {**self._sums, **self._counts}

    def restore(self, state: State) -> None:
        """Forget what was seen and take over a state."""
        self._sums = {name: taken(state, name, self._sums[name]) for name in _SUMS}
        self._counts = {name: taken(state, name, self._counts[name]) for name in _COUNTS}

    def result(self) -> MeanResult:
        """Compute the mean and its error."""
        num_tokens, num_sequences = self._counts["num_tokens"], self._counts["num_sequences"]
        known = num_tokens > 0
        mean = np.where(known, self._sums["sum"] / np.maximum(num_tokens, 1), np.nan)
        return MeanResult(
            mean=mean,
            se=clustered_standard_error(
                mean,
                cluster_square=self._sums["square"],
                cluster_count=self._sums["weighted"],
                sum_squared_lengths=self._counts["squared_lengths"],
                num_tokens=num_tokens,
                num_sequences=num_sequences,
            ),
            num_tokens=num_tokens,
            num_sequences=num_sequences,
        )


def clustered_standard_error(
    mean: Vector,
    *,
    cluster_square: Vector,
    cluster_count: Vector,
    sum_squared_lengths: NDArray[Any],
    num_tokens: Counts,
    num_sequences: Counts,
) -> Vector:
    """Estimate the error of a mean over tokens that come in sequences.

    Tokens of one sequence are not independent, sequences are taken to be. With sequence sums S_m
    over n_m tokens and mean g, this is the ratio estimator's
    ``SE^2 = M / (M - 1) sum_m (S_m - n_m g)^2 / N^2`` (Cochran, Sampling Techniques, 1977, 6.5).

    Args:
        mean: g, for each dimension.
        cluster_square: The sum of S_m^2.
        cluster_count: The sum of n_m S_m.
        sum_squared_lengths: The sum of n_m^2: one number, or one for each dimension.
        num_tokens: N, likewise.
        num_sequences: M, likewise.

    Returns:
        The standard error of each mean; NaN if there are fewer than two sequences.
    """
    spread = cluster_square - 2 * mean * cluster_count + mean**2 * sum_squared_lengths
    enough = num_sequences >= 2
    correction = num_sequences / np.maximum(num_sequences - 1, 1)
    error = np.sqrt(correction * np.maximum(spread, 0.0)) / np.maximum(num_tokens, 1)
    return np.where(enough, error, np.nan)
