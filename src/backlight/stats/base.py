"""Adding up: what every streaming statistic can do, and how sums are kept, merged and restored."""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np
import torch
from jaxtyping import Float
from numpy.typing import NDArray
from torch import Tensor

from backlight.errors import StateError, quoted

State = Mapping[str, NDArray[Any]]
"""All that a statistic has seen, as plain arrays."""


class Statistic(ABC):
    """A summary of a stream of whole sequences that never holds the stream.

    The result depends on which sequences were seen, not on how they were cut into batches, nor (but
    for the last bits of float64 sums) on their order: parts of a corpus that are seen apart and
    merged give what the whole corpus gives.
    """

    @abstractmethod
    def update(self, *seen: Any, **more: Any) -> None:
        """Take in some whole sequences, in the form that the statistic needs."""

    @abstractmethod
    def merge(self, other: Any) -> None:
        """Take in what another statistic of the same form has seen of other sequences."""

    @abstractmethod
    def state(self) -> dict[str, NDArray[Any]]:
        """Return all that was seen as arrays, from which ``restore`` goes on bit by bit."""

    @abstractmethod
    def restore(self, state: State) -> None:
        """Forget what was seen and take over a state."""


class Sums(Statistic, ABC):
    """A statistic that is sums, and other statistics: what is left to say is ``update``."""

    _maxima: ClassVar[frozenset[str]] = frozenset()
    """Which arrays hold largest values instead of sums."""

    def __init__(
        self,
        sums: Mapping[str, NDArray[Any]] | None = None,
        parts: Mapping[str, Statistic] | None = None,
    ) -> None:
        """Start with nothing seen.

        Args:
            sums: Zeros in the shape of each sum, by its name in the state.
            parts: The statistics that this one is made of, by name.
        """
        self._sums, self._parts = dict(sums or {}), dict(parts or {})

    def merge(self, other: "Sums") -> None:
        """See ``Statistic.merge``."""
        for name, theirs in other._sums.items():
            join = np.maximum if name in self._maxima else np.add
            self._sums[name] = np.asarray(join(self._sums[name], theirs))
        for name, part in self._parts.items():
            part.merge(other._parts[name])

    def state(self) -> dict[str, NDArray[Any]]:
        """See ``Statistic.state``."""
        return {**self._sums, **prefixed(self._parts)}

    def restore(self, state: State) -> None:
        """See ``Statistic.restore``."""
        self._sums = {name: taken(state, name, like) for name, like in self._sums.items()}
        for name, part in self._parts.items():
            part.restore(under(name, state))


def prefixed(parts: Mapping[str, Statistic]) -> dict[str, NDArray[Any]]:
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


def taken(
    state: State,
    name: str,
    like: NDArray[Any],
    *,
    least: int = 0,
    any_length: bool = False,
    blanks: bool = False,
) -> NDArray[Any]:
    """Take one array out of a saved state, if it can be what was kept under that name.

    Args:
        state: The state; it may come from a file that somebody has changed.
        name: The array.
        like: An array of the shape and kind of number that it must have, such as the one it
            replaces. Of real numbers any width is taken, and returned as it is.
        least: The smallest whole number that can be there: 0 for counts.
        any_length: There may be any number of rows.
        blanks: There may be NaN, for what was not seen yet.

    Returns:
        A copy of the array.

    Raises:
        StateError: If it is missing, has another shape or kind, or holds what no statistic can
            have seen: a whole number below ``least``, NaN or infinity.
    """
    if name not in state:
        raise StateError(f"{quoted(name)} is missing")
    array = np.array(state[name])
    shape = (len(array), *like.shape[1:]) if any_length and array.ndim else like.shape
    if array.dtype.kind != like.dtype.kind or array.shape != shape:
        raise StateError(
            f"{quoted(name)} is {array.dtype} {list(array.shape)} where {like.dtype} "
            f"{list(shape)} belongs"
        )
    if array.dtype.kind == "i" and (array < least).any():
        raise StateError(f"{quoted(name)} holds {array.min()}, which is no count")
    odd = np.isinf(array) if blanks else ~np.isfinite(array)
    if array.dtype.kind == "f" and odd.any():
        raise StateError(f"{quoted(name)} holds NaN or infinity, which no sum can be")
    return array


def wide(values: Float[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
    """Raise numbers to float64 for summing, where the device has it (mps has not)."""
    return values if values.device.type == "mps" else values.double()


def as_array(tensor: Tensor) -> NDArray[np.float64]:
    """Bring sums to the CPU as float64."""
    return tensor.detach().to("cpu").to(torch.float64).numpy()
