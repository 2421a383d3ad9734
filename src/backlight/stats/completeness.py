"""What was predicted of a change at each site, and what it did, passage by passage."""

from collections.abc import Sequence
from typing import Any, final

import numpy as np
from jaxtyping import Float
from numpy.typing import NDArray
from torch import Tensor

from backlight.errors import StateError, quoted
from backlight.stats.base import State, Statistic, taken

COLUMNS = ("first_order", "path", "true_change")
"""What is kept of each passage: the change that the gradient predicts, the one that the gradients
along a path add up to, and the true one."""


@final
class Completeness(Statistic):
    """Changes of the objective by site, one row for each passage.

    How well a path's parts add up is a ratio of every passage, of which medians are told, so no sum
    will do. A row is three numbers, and a path takes several passes over a passage: few are seen.

    Attributes:
        sites: By site, ``[passages, 3]`` in the order of ``COLUMNS``; NaN where a passage was not
            seen yet.
    """

    def __init__(self, sites: Sequence[str], num_passages: int) -> None:
        """Start with nothing seen.

        Args:
            sites: The sites' names.
            num_passages: How many passages the corpus has.
        """
        self.sites: dict[str, NDArray[np.float64]] = {
            site: np.full((num_passages, len(COLUMNS)), np.nan) for site in sites
        }

    def update(self, site: str, changes: Float[Tensor, "batch 3"], passages: Sequence[int]) -> None:
        """Take in a batch at one site.

        Args:
            site: The site's name.
            changes: What was predicted of each passage, and what came of it.
            passages: Which passages of the corpus they are.
        """
        self.sites[site][list(passages)] = changes.cpu().double().numpy()

    def merge(self, other: "Completeness") -> None:
        """See ``Statistic.merge``; raises a StateError if both have seen the same passage."""
        for site, theirs in other.sites.items():
            own, there = self.sites[site], ~np.isnan(theirs[:, 0])
            both = np.flatnonzero(there & ~np.isnan(own[:, 0]))
            if len(both):
                raise StateError(
                    f"passage {both[0]} at {quoted(site)} is in both of two parts that are to be "
                    "merged"
                )
            own[there] = theirs[there]

    def state(self) -> dict[str, NDArray[Any]]:
        """See ``Statistic.state``."""
        return dict(self.sites)

    def restore(self, state: State) -> None:
        """See ``Statistic.restore``."""
        self.sites = {
            site: taken(state, site, like, blanks=True) for site, like in self.sites.items()
        }
