"""Means of features that are zero at most tokens, from where they are not."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, final

import numpy as np
import torch
from jaxtyping import Float, Int
from numpy.typing import NDArray
from torch import Tensor

from backlight.stats.aggregate import Mode
from backlight.stats.base import Sums, as_array, wide
from backlight.stats.groups import PassageSums
from backlight.stats.ratio import RatioResult, Ratios
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

    mean: RatioResult
    mean_abs: RatioResult
    rms: NDArray[np.float64]
    top: TopResult


@final
class SparseMoments(Sums):
    """Sums over the entries of each feature, with sequences as clusters."""

    def __init__(
        self,
        num_features: int,
        *,
        active_only: bool,
        num_top: int,
        grouped: Sequence[Mode] = (),
    ) -> None:
        """Start with nothing seen.

        Args:
            num_features: How many features there are.
            active_only: Average over the tokens at which a feature fires, instead of over all
                (where it counts as zero).
            num_top: How many tokens to keep of each feature.
            grouped: Of what sums over groups of passages are kept.
        """
        widths = dict.fromkeys(grouped, num_features)
        self.groups = (
            PassageSums({"below": num_features if active_only else 1, **widths})
            if grouped
            else None
        )
        kept = {} if self.groups is None else {"groups": self.groups}
        self._active_only = active_only
        self._mean, self._mean_abs = (
            Ratios(num_features, shared_below=not active_only) for _ in range(2)
        )
        self._top = TopTokens(num_features, k=num_top)
        super().__init__(
            {"square": np.zeros(num_features)},
            {"mean": self._mean, "mean_abs": self._mean_abs, "top": self._top, **kept},
        )

    def update(self, entries: Entries) -> None:
        """Take in whole sequences."""
        values, sizes = wide(entries.values), wide(entries.values.abs())
        lengths = entries.lengths[:, None]
        if self._active_only:
            lengths = self._by_sequence(entries, torch.ones_like(entries.features))
        by_mode = {
            "mean": self._by_sequence(entries, values),
            "mean_abs": self._by_sequence(entries, sizes),
        }
        self._mean.update(by_mode["mean"], lengths)
        self._mean_abs.update(by_mode["mean_abs"], lengths)
        if self.groups is not None:
            kept = {name: sums for name, sums in by_mode.items() if name in self.groups.state()}
            self.groups.update({"below": lengths, **kept}, entries.passages.tolist())
        self._sums["square"] += as_array(self._by_sequence(entries, values.square()).sum(dim=0))
        self._top.take(
            entries.features.cpu().numpy(),
            as_array(entries.values),
            entries.passages[entries.sequences.cpu().numpy()],
            entries.positions.cpu().numpy(),
        )

    def sizes(self) -> RatioResult:
        """Compute the means of absolute values alone, which is quick."""
        return self._mean_abs.result()

    def result(self) -> SparseResult:
        """Compute the statistics; NaN for a feature without tokens."""
        mean, mean_abs = self._mean.result(), self.sizes()
        counts = np.where(mean.below > 0, mean.below, 1)
        rms = np.where(mean.below > 0, np.sqrt(self._sums["square"] / counts), np.nan)
        return SparseResult(mean=mean, mean_abs=mean_abs, rms=rms, top=self._top.result())

    def _by_sequence(self, entries: Entries, values: Tensor) -> Tensor:
        """Sum each sequence's entries, feature by feature."""
        shape = (len(entries.lengths), len(self._sums["square"]))
        places = (entries.sequences, entries.features)
        sums: Any = torch.zeros(shape, dtype=values.dtype, device=values.device)
        return sums.index_put_(places, values, accumulate=True)
