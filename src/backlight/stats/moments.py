"""Means, magnitudes and their errors, for each dimension, with sequences as clusters."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import final

import numpy as np
from jaxtyping import Bool, Float
from numpy.typing import NDArray
from torch import Tensor

from backlight.stats.base import State, Statistic, as_array, wide

__all__ = ["MomentResult", "Moments", "clustered_standard_error"]

Vector = NDArray[np.float64]

_SUMS = ("sum", "sum_abs", "sum_square", "cluster_square", "cluster_count")
_ABS_SUMS = ("cluster_square_abs", "cluster_count_abs")


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
class Moments(Statistic):
    """Sums from which means and their clustered standard errors follow exactly."""

    def __init__(self, width: int) -> None:
        self._sums: dict[str, Vector] = {
            name: np.zeros(width) for name in (*_SUMS, *_ABS_SUMS, "max_abs")
        }
        self._num_tokens = 0
        self._num_sequences = 0
        self._sum_squared_lengths = 0

    def update(
        self,
        values: Float[Tensor, "batch positions width"],
        *,
        valid: Bool[Tensor, "batch positions"],
        passages: Sequence[int],
    ) -> None:
        """See ``Statistic.update``."""
        del passages
        precise, sizes = wide(values), values.abs()
        lengths = valid.sum(dim=1)
        by_sequence = precise.sum(dim=1)
        by_sequence_abs = wide(sizes).sum(dim=1)
        weights = lengths[:, None].to(by_sequence.dtype)
        found = {
            "sum": by_sequence.sum(dim=0),
            "sum_abs": by_sequence_abs.sum(dim=0),
            "sum_square": precise.square().sum(dim=(0, 1)),
            "cluster_square": by_sequence.square().sum(dim=0),
            "cluster_count": (by_sequence * weights).sum(dim=0),
            "cluster_square_abs": by_sequence_abs.square().sum(dim=0),
            "cluster_count_abs": (by_sequence_abs * weights).sum(dim=0),
        }
        for name, tensor in found.items():
            self._sums[name] += as_array(tensor)
        self._sums["max_abs"] = np.maximum(self._sums["max_abs"], as_array(sizes.amax(dim=(0, 1))))
        counts = [int(length) for length in lengths.tolist()]
        self._num_tokens += sum(counts)
        self._num_sequences += len(counts)
        self._sum_squared_lengths += sum(count * count for count in counts)

    def merge(self, other: Statistic) -> None:
        """See ``Statistic.merge``."""
        assert isinstance(other, Moments)
        for name in (*_SUMS, *_ABS_SUMS):
            self._sums[name] = self._sums[name] + other._sums[name]
        self._sums["max_abs"] = np.maximum(self._sums["max_abs"], other._sums["max_abs"])
        self._num_tokens += other._num_tokens
        self._num_sequences += other._num_sequences
        self._sum_squared_lengths += other._sum_squared_lengths

    def state(self) -> State:
        """See ``Statistic.state``."""
        counts = (self._num_tokens, self._num_sequences, self._sum_squared_lengths)
        return {**self._sums, "counts": np.array(counts, dtype=np.int64)}

    def restore(self, state: State) -> None:
        """See ``Statistic.restore``."""
        self._sums = {name: np.array(state[name], dtype=np.float64) for name in self._sums}
        self._num_tokens, self._num_sequences, self._sum_squared_lengths = (
            int(count) for count in state["counts"]
        )

    def result(self) -> MomentResult:
        """Compute the statistics of all tokens seen so far; there must be one at least."""
        count, sums = self._num_tokens, self._sums
        assert count > 0, "no token was seen"
        mean, mean_abs = sums["sum"] / count, sums["sum_abs"] / count
        mean_square = sums["sum_square"] / count
        return MomentResult(
            num_tokens=count,
            num_sequences=self._num_sequences,
            mean=mean,
            mean_se=self._error(mean, "cluster_square", "cluster_count"),
            mean_abs=mean_abs,
            mean_abs_se=self._error(mean_abs, "cluster_square_abs", "cluster_count_abs"),
            rms=np.sqrt(mean_square),
            std=np.sqrt(np.maximum(mean_square - mean**2, 0.0)),
            max_abs=sums["max_abs"],
        )

    def _error(self, mean: Vector, square: str, count: str) -> Vector:
        return clustered_standard_error(
            mean,
            cluster_square=self._sums[square],
            cluster_count=self._sums[count],
            sum_squared_lengths=self._sum_squared_lengths,
            num_tokens=self._num_tokens,
            num_sequences=self._num_sequences,
        )


def clustered_standard_error(
    mean: Vector,
    *,
    cluster_square: Vector,
    cluster_count: Vector,
    sum_squared_lengths: float,
    num_tokens: int,
    num_sequences: int,
) -> Vector:
    """Estimate the error of a mean over tokens that come in sequences.

    Tokens of one sequence are not independent, sequences are taken to be. With sequence sums S_m
    over n_m tokens and mean g, this is the ratio estimator's
    ``SE^2 = M / (M - 1) sum_m (S_m - n_m g)^2 / N^2`` (Cochran, Sampling Techniques, 1977, 6.5).

    Args:
        mean: g, for each dimension.
        cluster_square: The sum of S_m^2.
        cluster_count: The sum of n_m S_m.
        sum_squared_lengths: The sum of n_m^2.
        num_tokens: N.
        num_sequences: M.

    Returns:
        The standard error of each mean; NaN if there are fewer than two sequences.
    """
    if num_sequences < 2:
        return np.full_like(mean, np.nan)
    spread = cluster_square - 2 * mean * cluster_count + mean**2 * sum_squared_lengths
    correction = num_sequences / (num_sequences - 1)
    return np.sqrt(correction * np.maximum(spread, 0.0)) / num_tokens
