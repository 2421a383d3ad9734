"""For each dimension, the tokens at which its value was largest."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import final

import numpy as np
import torch
from jaxtyping import Bool, Float
from numpy.typing import NDArray
from torch import Tensor

from backlight.errors import StateError
from backlight.stats.base import State, Statistic, taken


@dataclass(frozen=True, slots=True, kw_only=True)
class TopResult:
    """The tokens with the largest absolute values, for each dimension, the largest first.

    Places beyond the number of tokens seen have passage and position -1 and value NaN.

    Attributes:
        values: The signed values, ``[width, k]``.
        passages: The passages they were in.
        positions: Where in the passage, counted from 0.
    """

    values: NDArray[np.float64]
    passages: NDArray[np.int64]
    positions: NDArray[np.int64]


@final
class TopTokens(Statistic):
    """Keeps the k tokens of largest absolute value for each dimension.

    Of equal values the one in the earlier passage, then at the earlier position, is kept, so that
    the result does not depend on the order of batches.
    """

    def __init__(self, width: int, *, k: int = 5) -> None:
        self._k = k
        self._values = np.full((width, k), np.nan)
        self._passages = np.full((width, k), -1, dtype=np.int64)
        self._positions = np.full((width, k), -1, dtype=np.int64)

    def update(
        self,
        values: Float[Tensor, "batch positions width"],
        *,
        valid: Bool[Tensor, "batch positions"],
        passages: Sequence[int],
    ) -> None:
        """See ``Statistic.update``."""
        sizes = values.abs()
        if not valid.all():
            sizes[~valid] = -1.0
        # Nearly all values are below the k-th of what is held, or of this batch alone: one
        # comparison leaves a handful to sort.
        candidates = sizes >= self._thresholds(sizes)
        rows, places, dimensions = (index.cpu().numpy() for index in torch.where(candidates))
        found = values[candidates].double().cpu().numpy()
        self.take(dimensions, found, np.asarray(passages, dtype=np.int64)[rows], places)

    def merge(self, other: Statistic) -> None:
        """See ``Statistic.merge``."""
        assert isinstance(other, TopTokens)
        held = other._passages >= 0
        self.take(
            np.nonzero(held)[0], other._values[held], other._passages[held], other._positions[held]
        )

    def state(self) -> State:
        """See ``Statistic.state``."""
        return {
            "values": self._values,
            "passages": self._passages,
            "positions": self._positions,
        }

    def restore(self, state: State) -> None:
        """See ``Statistic.restore``."""
        self._passages = taken(state, "passages", self._passages, least=-1)
        self._positions = taken(state, "positions", self._positions, least=-1)
        self._values = taken(state, "values", self._values, blanks=True)
        if (np.isnan(self._values) != (self._passages < 0)).any():
            raise StateError("'values' are not there where 'passages' are")

    def result(self) -> TopResult:
        """List what is held."""
        return TopResult(values=self._values, passages=self._passages, positions=self._positions)

    def _thresholds(self, sizes: Tensor) -> Tensor:
        """Find, for each dimension, a value that the k largest of old and new are not below."""
        if (self._passages[:, -1] >= 0).all():
            held = torch.from_numpy(np.abs(self._values[:, -1]))
            return held.to(sizes.device, sizes.dtype)
        # The largest values of any k groups of tokens have k values among them that are at least
        # as large as the smallest of these maxima.
        groups = sizes.flatten(0, 1).tensor_split(self._k)
        if min(len(group) for group in groups) == 0:
            return torch.zeros(sizes.shape[-1], dtype=sizes.dtype, device=sizes.device)
        bound = torch.stack([group.amax(dim=0) for group in groups]).amin(dim=0)
        return bound.clamp(min=0)

    def take(
        self,
        dimensions: NDArray[np.int64],
        values: NDArray[np.float64],
        passages: NDArray[np.int64],
        positions: NDArray[np.int64],
    ) -> None:
        """Take in single values: sorted with what is held, the first k of each dimension stay.

        Args:
            dimensions: The dimension of each value.
            values: The values.
            passages: The passage of each.
            positions: Where in its passage.
        """
        small = np.abs(values) < np.abs(self._values[dimensions, -1])  # false where none is held
        dimensions, values = dimensions[~small], values[~small]
        passages, positions = passages[~small], positions[~small]
        if not len(dimensions):
            return
        touched = np.unique(dimensions)
        rows, places = np.nonzero(self._passages[touched] >= 0)
        held = (touched[rows], places)
        dimension = np.concatenate([held[0], dimensions])
        value = np.concatenate([self._values[held], values])
        passage = np.concatenate([self._passages[held], passages])
        position = np.concatenate([self._positions[held], positions])
        order = np.lexsort((position, passage, -np.abs(value), dimension))
        dimension = dimension[order]
        starts = np.searchsorted(dimension, dimension, side="left")
        rank = np.arange(len(order)) - starts
        kept = rank < self._k
        place = (dimension[kept], rank[kept])
        self._values[place] = value[order][kept]
        self._passages[place] = passage[order][kept]
        self._positions[place] = position[order][kept]
