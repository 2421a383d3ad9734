"""Bootstrap over sequences, in one pass: what a statistic would be of other samples."""

from collections.abc import Sequence
from typing import final

import numpy as np
from jaxtyping import Float
from numpy.typing import NDArray
from torch import Tensor

from backlight.stats.base import Sums, as_array

_REPLICATES = 400


@final
class PoissonBootstrap(Sums):
    """Sums over sequences, each sequence counted Poisson(1) times in each replicate.

    A bootstrap draws as many sequences as there are, with replacement: how often each is drawn is
    multinomial, which needs the whole stream at hand. One sequence's own count is Binomial(M, 1/M),
    nearly Poisson(1), and counts of different sequences are nearly independent; taken as exactly
    so, replicates can be summed while sequences stream by (Chamandy et al., Estimating Uncertainty
    for Massive Data Streams, 2012). That a replicate's size then varies does no harm to statistics
    that do not depend on it, such as ratios of sums and slopes of their logarithms.
    """

    def __init__(self, width: int, *, seed: int = 0) -> None:
        """Start with nothing seen.

        Args:
            width: How many sums.
            seed: Fixes the replicates; statistics that are merged must share it.
        """
        self._seed = seed
        super().__init__({"sums": np.zeros((_REPLICATES, width))})

    def update(self, sums: Float[Tensor, "sequences width"], passages: Sequence[int]) -> None:
        """Take in some whole sequences.

        Args:
            sums: Each sequence's sums.
            passages: Which passage of the corpus each is.
        """
        weights = np.stack([self._weights(passage) for passage in passages])
        self._sums["sums"] += weights.T @ as_array(sums)

    def replicates(self) -> NDArray[np.float64]:
        """Return the sums of each replicate, ``[replicates, width]``."""
        return self._sums["sums"]

    def _weights(self, passage: int) -> NDArray[np.float64]:
        # Drawn from the passage's own number: neither batches, nor their order, nor the part of the
        # corpus that a machine was handed changes how often a passage counts.
        random = np.random.default_rng([self._seed, passage])
        return random.poisson(1.0, size=_REPLICATES).astype(np.float64)
