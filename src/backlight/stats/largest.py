"""The tokens with the longest vectors, and the vectors."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import final

import numpy as np
import torch
from jaxtyping import Bool, Float
from numpy.typing import NDArray
from torch import Tensor

from backlight.stats.base import State, Statistic, taken

_ROUNDING = 1e-4


@dataclass(frozen=True, slots=True, kw_only=True)
class LargestResult:
    """The tokens with the longest vectors, the longest first.

    Attributes:
        vectors: Their vectors.
        passages: The passages they were in.
        positions: Where in the passage, counted from 0.
    """

    vectors: NDArray[np.floating]
    passages: NDArray[np.int64]
    positions: NDArray[np.int64]


@final
class LargestTokens(Statistic):
    """Keeps the k tokens with the longest vectors.

    Of equally long ones that of the earlier passage, then at the earlier position, is kept, so that
    the result does not depend on the order of batches.
    """

    def __init__(self, width: int, *, k: int, stride: int = 1) -> None:
        """Start with nothing seen.

        Args:
            width: Of the vectors.
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
        """See ``Statistic.update``."""
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

    def merge(self, other: Statistic) -> None:
        """See ``Statistic.merge``."""
        assert isinstance(other, LargestTokens)
        self._take(other._vectors, other._passages, other._positions)

    def state(self) -> State:
        """See ``Statistic.state``."""
        return {
            "vectors": self._vectors,
            "passages": self._passages,
            "positions": self._positions,
        }

    def restore(self, state: State) -> None:
        """See ``Statistic.restore``."""
        vectors = taken(state, "vectors", self._vectors, any_length=True)
        like = np.zeros(len(vectors), dtype=np.int64)
        self._passages = taken(state, "passages", like)
        self._positions = taken(state, "positions", like)
        self._vectors = vectors

    def result(self) -> LargestResult:
        """List what is held."""
        return LargestResult(
            vectors=self._vectors, passages=self._passages, positions=self._positions
        )

    def _take(
        self,
        vectors: NDArray[np.floating],
        passages: NDArray[np.int64],
        positions: NDArray[np.int64],
    ) -> None:
        vectors = np.concatenate([self._vectors.astype(vectors.dtype), vectors])
        passages = np.concatenate([self._passages, passages])
        positions = np.concatenate([self._positions, positions])
        norms = np.linalg.norm(vectors.astype(np.float64), axis=1)
        kept = np.lexsort((positions, passages, -norms))[: self._k]
        self._vectors = vectors[kept]
        self._passages, self._positions = passages[kept], positions[kept]
