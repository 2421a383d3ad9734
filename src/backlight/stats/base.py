"""What every streaming statistic can do."""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from jaxtyping import Bool, Float
from numpy.typing import NDArray
from torch import Tensor

__all__ = ["State", "Statistic", "as_array", "wide"]

State = Mapping[str, NDArray[Any]]
"""All that a statistic has seen, as plain arrays."""


class Statistic(ABC):
    """A summary of a stream of tokens that never holds the stream.

    The result depends on which tokens were seen, not on how they were cut into batches, nor (but
    for the last bits of float64 sums) on their order.
    """

    @abstractmethod
    def update(
        self,
        values: Float[Tensor, "batch positions width"],
        *,
        valid: Bool[Tensor, "batch positions"],
        passages: Sequence[int],
    ) -> None:
        """Take in a batch of whole sequences.

        Args:
            values: Some numbers for each token; zero where there is no token.
            valid: Where there is a token.
            passages: Which passage of the corpus each sequence is.
        """

    @abstractmethod
    def merge(self, other: "Statistic") -> None:
        """Take in what another statistic of the same form has seen of other sequences."""

    @abstractmethod
    def state(self) -> State:
        """Give all that was seen as arrays; ``restore`` takes them back."""

    @abstractmethod
    def restore(self, state: State) -> None:
        """Forget what was seen and take over a state."""


def wide(values: Float[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
    """Raise numbers to float64 for summing, where the device has it (mps has not)."""
    return values if values.device.type == "mps" else values.double()


def as_array(tensor: Tensor) -> NDArray[np.float64]:
    """Bring sums to the CPU as float64."""
    return tensor.detach().to("cpu").to(torch.float64).numpy()
