"""All statistics of all sites, as one thing that can be written down and merged."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import final

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor

from backlight.stats.base import State, Sums
from backlight.stats.by_site import BySite, without_pads
from backlight.stats.histogram import HistogramResult, LogHistogram
from backlight.stats.moments import MomentResult, Moments
from backlight.stats.top import TopResult, TopTokens

_NUM_SUMMARIES = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class SiteResult:
    """What was found at one site.

    Attributes:
        moments: For each dimension, over tokens.
        summaries: Each token's mean, mean absolute value, mean square and L2 norm over the
            dimensions (in this order), over tokens: what a whole layer's numbers and their errors
            come from.
        histogram: The histogram of all values.
        top: The tokens with the largest values, for each dimension.
    """

    moments: MomentResult
    summaries: MomentResult
    histogram: HistogramResult
    top: TopResult


@final
class Bank(BySite["_SiteBank"]):
    """Statistics of several sites, each fed with the same batches.

    A site has a place from its first batch on.
    """

    def __init__(self, *, num_top: int = 5) -> None:
        super().__init__()
        self._num_top = num_top

    def update(
        self,
        site: str,
        values: Float[Tensor, "batch positions width"],
        *,
        valid: Bool[Tensor, "batch positions"],
        passages: Sequence[int],
    ) -> None:
        """Take in a batch at one site; what stands at pads is ignored.

        Args:
            site: The site's name.
            values: Some numbers for each token.
            valid: Where there is a token.
            passages: Which passage of the corpus each sequence is.
        """
        self._site(site, values.shape[-1]).update(
            without_pads(values, valid), valid=valid, passages=passages
        )

    @property
    def sites(self) -> frozenset[str]:
        """Of which sites something was seen."""
        return frozenset(self._sites)

    def result(self, site: str) -> SiteResult:
        """Compute the statistics of one site."""
        return self._sites[site].result()

    def summaries(self, site: str) -> MomentResult:
        """Compute the summaries of one site alone, which takes no time; see ``SiteResult``."""
        return self._sites[site].summaries()

    def _nothing(self, size: int) -> "_SiteBank":
        return _SiteBank(size, self._num_top)

    def _size_of(self, part: "_SiteBank") -> int:
        return part.width

    def _size_in(self, state: State) -> int:
        return len(np.atleast_1d(state.get("moments/sum_square", np.zeros(0))))


@final
class _SiteBank(Sums):
    def __init__(self, width: int, num_top: int) -> None:
        self.width = width
        self._moments, self._summaries = Moments(width), Moments(_NUM_SUMMARIES)
        self._histogram, self._top = LogHistogram(), TopTokens(width, k=num_top)
        super().__init__(
            parts={
                "moments": self._moments,
                "summaries": self._summaries,
                "histogram": self._histogram,
                "top": self._top,
            }
        )

    def update(self, values: Tensor, *, valid: Tensor, passages: Sequence[int]) -> None:
        self._summaries.update(_summaries(values), valid=valid, passages=passages)
        for statistic in (self._moments, self._histogram, self._top):
            statistic.update(values, valid=valid, passages=passages)

    def summaries(self) -> MomentResult:
        return self._summaries.result()

    def result(self) -> SiteResult:
        return SiteResult(
            moments=self._moments.result(),
            summaries=self.summaries(),
            histogram=self._histogram.result(),
            top=self._top.result(),
        )


def _summaries(
    values: Float[Tensor, "batch positions width"],
) -> Float[Tensor, "batch positions 4"]:
    """Compute each token's mean, mean absolute value, mean square and norm over dimensions."""
    width = values.shape[-1]
    norm = torch.linalg.vector_norm(values, dim=-1)
    size = torch.linalg.vector_norm(values, ord=1, dim=-1) / width
    return torch.stack([values.mean(dim=-1), size, norm.square() / width, norm], dim=-1)
