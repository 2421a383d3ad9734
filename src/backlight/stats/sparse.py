"""Means of features that are zero at most tokens, from where they are not."""

from dataclasses import dataclass
from typing import Any, final

import numpy as np
import torch
from jaxtyping import Float, Int
from numpy.typing import NDArray
from torch import Tensor

from backlight.stats.base import Kept, State, as_array, prefixed, taken, under, wide
from backlight.stats.cluster import ClusterMean, MeanResult
from backlight.stats.top import TopResult, TopTokens


@dataclass(frozen=True, slots=True, kw_only=True)
class Entries:
    """A number for each pair of a token and a feature that fires there.

    Attributes:
        values: The numbers.
        features: The feature of each.
        sequences: The sequence of each, as a row of ``lengths``.
        positions: The place of its token in that sequence.
        lengths: How many tokens each sequence has, with and without features.
        passages: Which passage of the corpus each sequence is.
    """

    values: Float[Tensor, " entries"]
    features: Int[Tensor, " entries"]
    sequences: Int[Tensor, " entries"]
    positions: Int[Tensor, " entries"]
    lengths: Int[Tensor, " sequences"]
    passages: NDArray[np.int64]


@dataclass(frozen=True, slots=True, kw_only=True)
class SparseResult:
    """Statistics of each feature.

    Attributes:
        mean: The signed mean.
        mean_abs: The mean of absolute values.
        rms: The root of the mean square.
        top: The tokens with the largest absolute values.
    """

    mean: MeanResult
    mean_abs: MeanResult
    rms: NDArray[np.float64]
    top: TopResult


@final
class SparseMoments:
    """Sums over the entries of each feature, with sequences as clusters."""

    def __init__(self, num_features: int, *, active_only: bool, num_top: int) -> None:
        """Start with nothing seen.

        Args:
            num_features: How many features there are.
            active_only: Average over the tokens at which a feature fires, instead of over all
                (where it counts as zero).
            num_top: How many tokens to keep of each feature.
        """
        self._active_only = active_only
        self._means = {
            name: ClusterMean(num_features, count_each=active_only) for name in ("mean", "mean_abs")
        }
        self._top = TopTokens(num_features, k=num_top)
        self._square = np.zeros(num_features)

    def update(self, entries: Entries) -> None:
        """Take in whole sequences."""
        values, sizes = wide(entries.values), wide(entries.values.abs())
        lengths = entries.lengths[:, None]
        if self._active_only:
            lengths = self._sums(entries, torch.ones_like(entries.features))
        self._means["mean"].update(self._sums(entries, values), lengths)
        self._means["mean_abs"].update(self._sums(entries, sizes), lengths)
        self._square += as_array(self._sums(entries, values.square()).sum(dim=0))
        self._top.take(
            entries.features.cpu().numpy(),
            as_array(entries.values),
            entries.passages[entries.sequences.cpu().numpy()],
            entries.positions.cpu().numpy(),
        )

    def merge(self, other: "SparseMoments") -> None:
        """Take in what another has seen of other sequences."""
        for name, mean in self._means.items():
            mean.merge(other._means[name])
        self._top.merge(other._top)
        self._square = self._square + other._square

    def state(self) -> State:
        """Give all that was seen as arrays; ``restore`` takes them back."""
        return {"square": self._square, **prefixed(self._parts())}

    def restore(self, state: State) -> None:
        """Forget what was seen and take over a state."""
        self._square = taken(state, "square", self._square)
        for name, part in self._parts().items():
            part.restore(under(name, state))

    def result(self) -> SparseResult:
        """Compute the statistics; NaN for a feature without tokens."""
        mean, mean_abs = (each.result() for each in self._means.values())
        counts = np.where(mean.num_tokens > 0, mean.num_tokens, 1)
        rms = np.where(mean.num_tokens > 0, np.sqrt(self._square / counts), np.nan)
        return SparseResult(mean=mean, mean_abs=mean_abs, rms=rms, top=self._top.result())

    def _parts(self) -> dict[str, Kept]:
        return {**self._means, "top": self._top}

    def _sums(self, entries: Entries, values: Tensor) -> Tensor:
        """Sum each sequence's entries, feature by feature."""
        shape = (len(entries.lengths), len(self._square))
        places = (entries.sequences, entries.features)
        sums: Any = torch.zeros(shape, dtype=values.dtype, device=values.device)
        return sums.index_put_(places, values, accumulate=True)
