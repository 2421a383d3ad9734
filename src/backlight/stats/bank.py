"""All statistics of all sites, as one thing that can be written down and merged."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, final

import numpy as np
import torch
from jaxtyping import Bool, Float
from numpy.typing import NDArray
from torch import Tensor

from backlight.stats.base import State, Statistic, Sums, prefixed, under
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
class Bank(Statistic):
    """Statistics of several sites, each fed with the same batches.

    A site has a place from its first batch on.
    """

    def __init__(self, *, num_top: int = 5) -> None:
        self._num_top = num_top
        self._sites: dict[str, _SiteBank] = {}

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
        if not valid.all():
            values = values.masked_fill(~valid[..., None], 0.0)
        self._site(site, values.shape[-1]).update(values, valid=valid, passages=passages)

    def merge(self, other: "Bank") -> None:
        """See ``Statistic.merge``."""
        for site, theirs in other._sites.items():
            self._site(site, theirs.width).merge(theirs)

    def state(self) -> dict[str, NDArray[Any]]:
        """Return all that was seen as arrays, named ``site/statistic/array``."""
        return prefixed(self._sites)

    def restore(self, state: State) -> None:
        """Forget what was seen and take over a state, of which it knows no more than its sites."""
        self._sites = {}
        for site in dict.fromkeys(key.partition("/")[0] for key in state):
            parts = under(site, state)
            sums = np.atleast_1d(parts.get("moments/sum_square", np.zeros(0)))
            self._site(site, len(sums)).restore(parts)

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

    def _site(self, site: str, width: int) -> "_SiteBank":
        if site not in self._sites:
            self._sites[site] = _SiteBank(width, self._num_top)
        return self._sites[site]


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
