"""Bootstrap over sequences, in one pass: what a statistic would be of other samples."""

from collections.abc import Sequence
from typing import final

import numpy as np
from jaxtyping import Float
from numpy.typing import NDArray
from torch import Tensor

from backlight.stats.base import State, as_array, taken

_REPLICATES = 400


@final
class PoissonBootstrap:
    """Sums over sequences, each sequence counted Poisson(1) times in each replicate.

    A bootstrap draws as many sequences as there are, with replacement; how often one is drawn is
    nearly Poisson(1) and independent of the others, so replicates can be summed while sequences
    stream by (Chamandy et al., Estimating Uncertainty for Massive Data Streams, 2012). How often a
    sequence is counted depends on its number in the corpus alone, not on batches or their order.
    """

    def __init__(self, width: int, *, seed: int = 0) -> None:
        """Start with nothing seen.

        Args:
            width: How many sums.
            seed: Fixes the replicates.
        """
        self._seed = seed
        self._sums = np.zeros((_REPLICATES, width))

    def update(self, sums: Float[Tensor, "sequences width"], passages: Sequence[int]) -> None:
        """Take in some whole sequences.

        Args:
            sums: Each sequence's sums.
            passages: Which passage of the corpus each is.
        """
        weights = np.stack([self._weights(passage) for passage in passages])
        self._sums += weights.T @ as_array(sums)

    def merge(self, other: "PoissonBootstrap") -> None:
        """Take in what another, of the same seed, has seen of other sequences."""
        self._sums = self._sums + other._sums

    def state(self) -> State:
        """Give all that was seen as arrays; ``restore`` takes them back."""
        return {"sums": self._sums}

    def restore(self, state: State) -> None:
        """Forget what was seen and take over a state."""
        self._sums = taken(state, "sums", self._sums)

    def replicates(self) -> NDArray[np.float64]:
        """Give the sums of each replicate, ``[replicates, width]``."""
        return self._sums

    def _weights(self, passage: int) -> NDArray[np.float64]:
        random = np.random.default_rng([self._seed, passage])
        return random.poisson(1.0, size=_REPLICATES).astype(np.float64)
