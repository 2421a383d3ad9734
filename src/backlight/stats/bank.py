"""All statistics of all sites, as one thing that can be written down and merged."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import final

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor

from backlight.stats.base import State, Statistic, prefixed, under
from backlight.stats.histogram import HistogramResult, LogHistogram
from backlight.stats.moments import MomentResult, Moments
from backlight.stats.top import TopResult, TopTokens

_SUMMARIES = ("mean", "mean_abs", "mean_square", "norm")


@dataclass(frozen=True, slots=True, kw_only=True)
class SiteResult:
    """What was found at one site.

    Attributes:
        moments: For each dimension, over tokens.
        summaries: Of each token's mean, mean absolute value, mean square and L2 norm over the
            dimensions (in this order), over tokens: what a whole layer's numbers and their errors
            come from.
        histogram: Of all values.
        top: The tokens with the largest values, for each dimension.
    """

    moments: MomentResult
    summaries: MomentResult
    histogram: HistogramResult
    top: TopResult


@final
class Bank:
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
        own, summaries = self._site(site, values.shape[-1]), _summaries(values)
        own.summaries.update(summaries, valid=valid, passages=passages)
        for statistic in (own.moments, own.histogram, own.top):
            statistic.update(values, valid=valid, passages=passages)

    def merge(self, other: "Bank") -> None:
        """Take in what another bank has seen of other sequences."""
        for site, theirs in other._sites.items():
            own = self._site(site, theirs.width)
            for name, statistic in own.statistics().items():
                statistic.merge(theirs.statistics()[name])

    def state(self) -> State:
        """Give all that was seen as arrays, named ``site/statistic/array``."""
        return {
            f"{site}/{key}": array
            for site, own in self._sites.items()
            for key, array in prefixed(own.statistics()).items()
        }

    def restore(self, state: State) -> None:
        """Forget what was seen and take over a state, of which it knows no more than its sites."""
        self._sites = {}
        for site in dict.fromkeys(key.partition("/")[0] for key in state):
            parts = under(site, state)
            sums = np.atleast_1d(parts.get("moments/sum_square", np.zeros(0)))
            own = self._site(site, len(sums))
            for name, statistic in own.statistics().items():
                statistic.restore(under(name, parts))

    @property
    def sites(self) -> frozenset[str]:
        """Of which sites something was seen."""
        return frozenset(self._sites)

    def result(self, site: str) -> SiteResult:
        """Compute the statistics of one site."""
        own = self._sites[site]
        return SiteResult(
            moments=own.moments.result(),
            summaries=own.summaries.result(),
            histogram=own.histogram.result(),
            top=own.top.result(),
        )

    def _site(self, site: str, width: int) -> "_SiteBank":
        if site not in self._sites:
            self._sites[site] = _SiteBank(width, self._num_top)
        return self._sites[site]


class _SiteBank:
    def __init__(self, width: int, num_top: int) -> None:
        self.width = width
        self.moments = Moments(width)
        self.summaries = Moments(len(_SUMMARIES))
        self.histogram = LogHistogram()
        self.top = TopTokens(width, k=num_top)

    def statistics(self) -> dict[str, Statistic]:
        return {
            "moments": self.moments,
            "summaries": self.summaries,
            "histogram": self.histogram,
            "top": self.top,
        }


def _summaries(
    values: Float[Tensor, "batch positions width"],
) -> Float[Tensor, "batch positions 4"]:
    """Compute each token's mean, mean absolute value, mean square and norm over dimensions."""
    width = values.shape[-1]
    norm = torch.linalg.vector_norm(values, dim=-1)
    size = torch.linalg.vector_norm(values, ord=1, dim=-1) / width
    return torch.stack([values.mean(dim=-1), size, norm.square() / width, norm], dim=-1)
