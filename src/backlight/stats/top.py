"""The tokens at which something was largest: the value of a dimension, or the whole vector."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, final

import numpy as np
import torch
from jaxtyping import Bool, Float
from numpy.typing import NDArray
from torch import Tensor

from backlight.errors import StateError
from backlight.stats.base import State, Statistic, taken

_ROUNDING = 1e-4

Places = NDArray[np.int64]


@dataclass(frozen=True, slots=True, kw_only=True)
class TopResult:
    """The tokens with the largest values, the largest first.

    Of ``TopTokens``, ``[width, k]``: places beyond the number of tokens seen have passage and
    position -1 and value NaN. Of ``LargestTokens``, no more than k tokens.

    Attributes:
        values: The signed values of a dimension; or the vectors of the tokens, ``[k, width]``.
        passages: The passages they were in.
        positions: Where in the passage, counted from 0.
    """

    values: NDArray[np.floating]
    passages: Places
    positions: Places


@final
class TopTokens(Statistic):
    """Keeps the k tokens of largest absolute value for each dimension.

    Of equal values the one in the earlier passage, then at the earlier position, is kept, so that
    the result does not depend on the order of batches.

    Sorting all values of all dimensions would cost far more than the pass that made them. So each
    batch is first compared with a bound that the final k cannot be below, one number for each
    dimension; a handful of candidates is left to sort. The bound may let too many through, never
    too few, and equal values pass, so that ties are settled by the sort alone.
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
        """See ``Moments.update``."""
        sizes = values.abs()
        if not valid.all():
            sizes[~valid] = -1.0  # below every bound
        candidates = sizes >= self._thresholds(sizes)
        rows, places, dimensions = (index.cpu().numpy() for index in torch.where(candidates))
        found = values[candidates].double().cpu().numpy()
        self.take(dimensions, found, np.asarray(passages, dtype=np.int64)[rows], places)

    def merge(self, other: "TopTokens") -> None:
        """See ``Statistic.merge``."""
        held = np.nonzero(other._passages >= 0)
        self.take(held[0], other._values[held], other._passages[held], other._positions[held])

    def state(self) -> dict[str, NDArray[Any]]:
        """See ``Statistic.state``."""
        return asdict(self.result())

    def restore(self, state: State) -> None:
        """See ``Statistic.restore``."""
        self._passages = taken(state, "passages", self._passages, least=-1)
        self._positions = taken(state, "positions", self._positions, least=-1)
        self._values = taken(state, "values", self._values, blanks=True)
        if (np.isnan(self._values) != (self._passages < 0)).any():
            raise StateError("'values' are not there where 'passages' are")

    def result(self) -> TopResult:
        """Return what is held."""
        return TopResult(values=self._values, passages=self._passages, positions=self._positions)

    def _thresholds(self, sizes: Tensor) -> Tensor:
        """Find, for each dimension, a value that the k largest of old and new are not below."""
        if (self._passages[:, -1] >= 0).all():
            # All k places are taken: the smallest of what is held. What comes in can only raise it.
            held = torch.from_numpy(np.abs(self._values[:, -1]))
            return held.to(sizes.device, sizes.dtype)
        # Cut the tokens into any k groups: their maxima are k different values, so the k-th largest
        # of the batch is at least the smallest of these maxima.
        groups = sizes.flatten(0, 1).tensor_split(self._k)
        if min(len(group) for group in groups) == 0:
            return torch.zeros(sizes.shape[-1], dtype=sizes.dtype, device=sizes.device)
        bound = torch.stack([group.amax(dim=0) for group in groups]).amin(dim=0)
        return bound.clamp(min=0)  # a group of nothing but pads has a maximum of -1

    def take(
        self,
        dimensions: Places,
        values: NDArray[np.float64],
        passages: Places,
        positions: Places,
    ) -> None:
        """Take in single values: sorted with what is held, the first k of each dimension stay.

        Args:
            dimensions: The dimension of each value.
            values: The values.
            passages: The passage of each.
            positions: Where in its passage.
        """
        small = np.abs(values) < np.abs(self._values[dimensions, -1])  # false where none is held
        if small.all():
            return
        given: list[NDArray[Any]] = [each[~small] for each in (values, passages, positions)]
        own: list[NDArray[Any]] = [self._values, self._passages, self._positions]
        dimensions = dimensions[~small]
        touched = np.unique(dimensions)
        rows, places = np.nonzero(self._passages[touched] >= 0)
        held = (touched[rows], places)
        dimension = np.concatenate([held[0], dimensions])
        value, passage, position = (
            np.concatenate([old[held], new]) for old, new in zip(own, given, strict=True)
        )
        kept, rank = _leading(self._k, dimension, np.abs(value), passage, position)
        for old, new in zip(own, (value, passage, position), strict=True):
            old[dimension[kept], rank] = new[kept]


@final
class LargestTokens(Statistic):
    """Keeps the k tokens with the longest vectors, and the vectors.

    Of equally long ones that of the earlier passage, then at the earlier position, is kept, so that
    the result does not depend on the order of batches.
    """

    def __init__(self, width: int, *, k: int, stride: int = 1) -> None:
        """Start with nothing seen.

        Args:
            width: The width of the vectors.
            k: How many to keep.
            stride: Each place along a batch is so many tokens of its passage.
        """
        self._k, self._stride = k, stride
        self._vectors: NDArray[np.floating] = np.zeros((0, width), dtype=np.float32)
        self._passages = np.zeros(0, dtype=np.int64)
        self._positions = np.zeros(0, dtype=np.int64)

    def update(
        self,
        values: Float[Tensor, "batch positions width"],
        *,
        valid: Bool[Tensor, "batch positions"],
        passages: Sequence[int],
    ) -> None:
        """See ``Moments.update``."""
        norms = torch.linalg.vector_norm(values, dim=-1).masked_fill(~valid, -1.0)
        bound = norms.flatten().topk(min(self._k, norms.numel())).values[-1].clamp(min=0)
        # A few more than k: what is nearly as long may be as long in the precision of ``_take``,
        # and ties at the end are cut there, in the order of passages.
        rows, places = torch.where(norms >= bound * (1 - _ROUNDING))
        self._take(
            values[rows, places].cpu().numpy(),
            np.asarray(passages, dtype=np.int64)[rows.cpu().numpy()],
            places.cpu().numpy() * self._stride,
        )

    def merge(self, other: "LargestTokens") -> None:
        """See ``Statistic.merge``."""
        self._take(other._vectors, other._passages, other._positions)

    def state(self) -> dict[str, NDArray[Any]]:
        """See ``Statistic.state``."""
        return asdict(self.result())

    def restore(self, state: State) -> None:
        """See ``Statistic.restore``."""
        vectors = taken(state, "values", self._vectors, any_length=True)
        like = np.zeros(len(vectors), dtype=np.int64)
        self._passages = taken(state, "passages", like)
        self._positions = taken(state, "positions", like)
        self._vectors = vectors

    def result(self) -> TopResult:
        """Return what is held."""
        return TopResult(values=self._vectors, passages=self._passages, positions=self._positions)

    def _take(self, vectors: NDArray[np.floating], passages: Places, positions: Places) -> None:
        vectors = np.concatenate([self._vectors.astype(vectors.dtype), vectors])
        passages = np.concatenate([self._passages, passages])
        positions = np.concatenate([self._positions, positions])
        norms = np.linalg.norm(vectors.astype(np.float64), axis=1)
        kept, _ = _leading(self._k, np.zeros_like(passages), norms, passages, positions)
        self._vectors = vectors[kept]
        self._passages, self._positions = passages[kept], positions[kept]


def _leading(
    k: int, groups: Places, sizes: NDArray[np.float64], passages: Places, positions: Places
) -> tuple[Places, Places]:
    """Find the k largest of each group; of equal ones the first in the corpus.

    Returns:
        Which they are, group by group from the largest on, and each one's rank in its group.
    """
    order = np.lexsort((positions, passages, -sizes, groups))
    ordered = groups[order]
    rank = np.arange(len(order)) - np.searchsorted(ordered, ordered, side="left")
    kept = rank < k
    return order[kept], rank[kept]
