"""How much of a corpus was seen, and its loss."""

from typing import final

import numpy as np
from jaxtyping import Float
from torch import Tensor

from backlight.stats.base import Sums


@final
class CorpusLoss(Sums):
    """The cross-entropy of all predicted tokens, and the number of batches that are in it."""

    def __init__(self) -> None:
        counts = np.zeros(2, dtype=np.int64)  # batches, predicted tokens
        super().__init__({"counts": counts, "nats": np.zeros(())})

    def update(self, nats: Float[Tensor, " sequences"] | None, num_predicted: int) -> None:
        """Take in a batch.

        Args:
            nats: Each sequence's cross-entropy, summed over its predicted tokens; None if no loss
                was computed.
            num_predicted: How many tokens were predicted.
        """
        self._sums["counts"] += (1, 0 if nats is None else num_predicted)
        self._sums["nats"] += 0.0 if nats is None else float(nats.sum())

    @property
    def num_batches(self) -> int:
        """How many batches were seen."""
        return int(self._sums["counts"][0])

    @property
    def num_predicted(self) -> int:
        """How many tokens were predicted."""
        return int(self._sums["counts"][1])

    @property
    def nats(self) -> float:
        """The cross-entropy of all predicted tokens, summed."""
        return float(self._sums["nats"])

    @property
    def nats_per_token(self) -> float | None:
        """The mean over predicted tokens; None if no loss was computed."""
        return self.nats / self.num_predicted if self.num_predicted else None
