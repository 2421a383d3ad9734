"""What every streaming statistic can do."""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any, Protocol, runtime_checkable

import numpy as np
import torch
from jaxtyping import Bool, Float
from numpy.typing import NDArray
from torch import Tensor

__all__ = ["Kept", "State", "Statistic", "as_array", "prefixed", "under", "wide"]

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


@runtime_checkable
class Kept(Protocol):
    """Whatever can be written down and taken up again."""

    def state(self) -> State:
        """Give all that was seen as arrays."""
        ...

    def restore(self, state: State) -> None:
        """Forget what was seen and take over a state."""
        ...


def prefixed(parts: Mapping[str, Kept]) -> dict[str, NDArray[Any]]:
    """Write several states as one: ``part/array``."""
    return {
        f"{name}/{key}": array
        for name, part in parts.items()
        for key, array in part.state().items()
    }


def under(name: str, state: State) -> dict[str, NDArray[Any]]:
    """Take one part out of several states that were written as one."""
    start = f"{name}/"
    return {key[len(start) :]: array for key, array in state.items() if key.startswith(start)}


def wide(values: Float[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
    """Raise numbers to float64 for summing, where the device has it (mps has not)."""
    return values if values.device.type == "mps" else values.double()


def as_array(tensor: Tensor) -> NDArray[np.float64]:
    """Bring sums to the CPU as float64."""
    return tensor.detach().to("cpu").to(torch.float64).numpy()
