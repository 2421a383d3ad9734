"""Means, magnitudes and their errors, for each dimension, with sequences as clusters."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import final

import numpy as np
from jaxtyping import Bool, Float
from numpy.typing import NDArray
from torch import Tensor

from backlight.stats.base import State, Statistic, as_array, prefixed, taken, under, wide
from backlight.stats.cluster import ClusterMean

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
class Moments(Statistic):
    """Sums from which means and their clustered standard errors follow exactly."""

    def __init__(self, width: int) -> None:
        self._means = {"mean": ClusterMean(width), "mean_abs": ClusterMean(width)}
        self._sum_square = np.zeros(width)
        self._max_abs = np.zeros(width)

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
        lengths = valid.sum(dim=1, keepdim=True)
        self._means["mean"].update(precise.sum(dim=1), lengths)
        self._means["mean_abs"].update(wide(sizes).sum(dim=1), lengths)
        self._sum_square += as_array(precise.square().sum(dim=(0, 1)))
        self._max_abs = np.maximum(self._max_abs, as_array(sizes.amax(dim=(0, 1))))

    def merge(self, other: Statistic) -> None:
        """See ``Statistic.merge``."""
        assert isinstance(other, Moments)
        for name, mean in self._means.items():
            mean.merge(other._means[name])
        self._sum_square = self._sum_square + other._sum_square
        self._max_abs = np.maximum(self._max_abs, other._max_abs)

    def state(self) -> State:
        """See ``Statistic.state``."""
        sums = {"sum_square": self._sum_square, "max_abs": self._max_abs}
        return sums | prefixed(self._means)

    def restore(self, state: State) -> None:
        """See ``Statistic.restore``."""
        self._sum_square = taken(state, "sum_square", self._sum_square)
        self._max_abs = taken(state, "max_abs", self._max_abs)
        for name, mean in self._means.items():
            mean.restore(under(name, state))

    def result(self) -> MomentResult:
        """Compute the statistics of all tokens seen so far; there must be one at least."""
        mean, mean_abs = (each.result() for each in self._means.values())
        count = int(mean.num_tokens[0])
        assert count > 0, "no token was seen"
        mean_square = self._sum_square / count
        return MomentResult(
            num_tokens=count,
            num_sequences=int(mean.num_sequences[0]),
            mean=mean.mean,
            mean_se=mean.se,
            mean_abs=mean_abs.mean,
            mean_abs_se=mean_abs.se,
            rms=np.sqrt(mean_square),
            std=np.sqrt(np.maximum(mean_square - mean.mean**2, 0.0)),
            max_abs=self._max_abs,
        )
