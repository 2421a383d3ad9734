"""How much of an estimate is the chance of its random probes."""

from dataclasses import dataclass
from typing import Any, final

import numpy as np
import torch
from jaxtyping import Float
from numpy.typing import NDArray
from torch import Tensor

from backlight.stats.base import State, Statistic, as_array, taken

Vector = NDArray[np.float64]


@dataclass(frozen=True, slots=True, kw_only=True)
class ProbeErrors:
    """What probes alone add to the standard errors of means over tokens; NaN of a single probe.

    Attributes:
        dimensions: Of each dimension's mean.
        mean: Of the mean over dimensions.
    """

    dimensions: Vector
    mean: float


@final
class ProbeNoise(Statistic):
    """How much the sums over tokens of each passage differ from probe to probe, at several sites.

    With S_mk what probe k of K found of passage m, and N tokens, the mean of the means over probes
    has the error ``sum_m sum_k (S_mk - mean_k S_mk)^2 / (K (K - 1)) / N^2``, squared, from probes
    alone: other probes of the same passages would differ by that. Probes of a passage are no
    further passages, so a standard error over passages is that of the means over probes; it holds
    what probes add.
    """

    def __init__(self) -> None:
        self._sites: dict[str, Vector] = {}

    def update(
        self, site: str, by_probe: Float[Tensor, "probes sequences width"], *, num_tokens: int
    ) -> None:
        """Take in some whole sequences.

        Args:
            site: The site's name.
            by_probe: What each probe found, summed over the tokens of each sequence.
            num_tokens: How many tokens these sequences have.
        """
        num_probes, _, width = by_probe.shape
        if site not in self._sites:
            self._sites[site] = np.zeros(width + 2)
        self._sites[site][-1] += num_tokens
        if num_probes < 2:
            return
        sums = torch.cat([by_probe, by_probe.mean(dim=2, keepdim=True)], dim=2)
        self._sites[site][:-1] += as_array(sums.var(dim=0).sum(dim=0)) / num_probes

    def merge(self, other: "ProbeNoise") -> None:
        """See ``Statistic.merge``."""
        for site, theirs in other._sites.items():
            own = self._sites.get(site)
            self._sites[site] = theirs.copy() if own is None else own + theirs

    def state(self) -> dict[str, NDArray[Any]]:
        """See ``Statistic.state``."""
        return dict(self._sites)

    def restore(self, state: State) -> None:
        """Forget what was seen and take over a state, of which it knows no more than its sites."""
        self._sites = {site: taken(state, site, np.zeros(3), any_length=True) for site in state}

    def result(self, site: str) -> ProbeErrors:
        """Compute what probes add to the errors at one site."""
        sums = self._sites[site]
        # A single probe has nothing to differ from.
        errors = (
            np.sqrt(sums[:-1]) / sums[-1] if sums[:-1].any() else np.full(len(sums) - 1, np.nan)
        )
        return ProbeErrors(dimensions=errors[:-1], mean=float(errors[-1]))
