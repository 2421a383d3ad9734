"""The second moment of a vector over tokens: from it, statistics along any direction follow."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import final

import numpy as np
import torch
from jaxtyping import Bool, Float
from numpy.typing import NDArray
from torch import Tensor

from backlight.stats.base import State, Statistic, as_array, taken, wide

Vector = NDArray[np.float64]

_VECTORS = ("sum", "weighted")
_MATRICES = ("square", "cluster_square")
_BLOCK_ROWS = 4096


@dataclass(frozen=True, slots=True, kw_only=True)
class DirectionMoments:
    """Statistics, over tokens, of the product of a vector with each of some directions.

    Attributes:
        num_tokens: How many tokens were seen.
        num_sequences: How many sequences they came in.
        mean: The signed mean of each product.
        mean_se: Its standard error, with sequences as clusters; NaN with fewer than two.
        rms: The root of the mean square.
    """

    num_tokens: int
    num_sequences: int
    mean: Vector
    mean_se: Vector
    rms: Vector


@final
class SecondMoment(Statistic):
    """Sums of a vector g, of g g', and of the same over whole sequences.

    For any direction w, without another look at the tokens: the mean of ``g . w`` is
    ``mean(g) . w``, its mean square ``w' mean(g g') w``, and with sequence sums S_m over n_m
    tokens, mean g and ``D_m = S_m - n_m g`` its clustered standard error is
    ``M / (M - 1) w' sum_m(D_m D_m') w / N^2``, squared.

    Products of a batch are taken in its own number format, their sums over batches in float64.
    """

    def __init__(self, width: int) -> None:
        self._vectors = {name: np.zeros(width) for name in _VECTORS}
        self._matrices = {name: np.zeros((width, width)) for name in _MATRICES}
        self._num_tokens = 0
        self._num_sequences = 0
        self._squared_lengths = 0

    def update(
        self,
        values: Float[Tensor, "batch positions width"],
        *,
        valid: Bool[Tensor, "batch positions"],
        passages: Sequence[int],
    ) -> None:
        """See ``Statistic.update``."""
        del passages
        tokens = values.flatten(0, 1)
        by_sequence, lengths = wide(values).sum(dim=1), valid.sum(dim=1)
        weights = lengths.to(by_sequence.dtype)
        self._vectors["sum"] += as_array(by_sequence.sum(dim=0))
        self._vectors["weighted"] += as_array(weights @ by_sequence)
        self._matrices["square"] += as_array(tokens.T @ tokens)
        self._matrices["cluster_square"] += as_array(by_sequence.T @ by_sequence)
        self._num_tokens += int(lengths.sum())
        self._num_sequences += len(lengths)
        self._squared_lengths += int(lengths.square().sum())

    def merge(self, other: Statistic) -> None:
        """See ``Statistic.merge``."""
        assert isinstance(other, SecondMoment)
        for name in _VECTORS:
            self._vectors[name] = self._vectors[name] + other._vectors[name]
        for name in _MATRICES:
            self._matrices[name] = self._matrices[name] + other._matrices[name]
        self._num_tokens += other._num_tokens
        self._num_sequences += other._num_sequences
        self._squared_lengths += other._squared_lengths

    def state(self) -> State:
        """See ``Statistic.state``; of symmetric matrices one triangle is kept."""
        counts = (self._num_tokens, self._num_sequences, self._squared_lengths)
        triangles = {name: _triangle(matrix) for name, matrix in self._matrices.items()}
        return {**self._vectors, **triangles, "counts": np.array(counts, dtype=np.int64)}

    def restore(self, state: State) -> None:
        """See ``Statistic.restore``."""
        self._vectors = {name: taken(state, name, self._vectors[name]) for name in _VECTORS}
        width = len(self._vectors["sum"])
        like = np.zeros(width * (width + 1) // 2)
        self._matrices = {name: _symmetric(taken(state, name, like), width) for name in _MATRICES}
        self._num_tokens, self._num_sequences, self._squared_lengths = (
            int(count) for count in taken(state, "counts", np.zeros(3, dtype=np.int64))
        )

    def along(self, rows: Float[Tensor, "directions width"]) -> DirectionMoments:
        """Compute the statistics of ``g . w`` for each of some directions w.

        Args:
            rows: The directions; products are taken in their number format.

        Returns:
            One number for each direction, over all tokens seen so far; there must be one at least.
        """
        count = self._num_tokens
        assert count > 0, "no token was seen"
        mean = self._vectors["sum"] / count
        return DirectionMoments(
            num_tokens=count,
            num_sequences=self._num_sequences,
            mean=as_array(rows @ _like(mean, rows)),
            mean_se=self._errors(rows, mean),
            rms=np.sqrt(_quadratic(rows, self._matrices["square"] / count)),
        )

    def _errors(self, rows: Tensor, mean: Vector) -> Vector:
        clusters = self._num_sequences
        if clusters < 2:
            return np.full(len(rows), np.nan)
        crossed = np.outer(self._vectors["weighted"], mean)
        spread = self._matrices["cluster_square"] - crossed - crossed.T
        spread += self._squared_lengths * np.outer(mean, mean)
        scale = clusters / (clusters - 1) / self._num_tokens**2
        return np.sqrt(_quadratic(rows, spread * scale))


def _quadratic(rows: Float[Tensor, "directions width"], matrix: NDArray[np.float64]) -> Vector:
    """Compute w' A w for each row w; rounding cannot make it negative, as A never is."""
    square, dtype = _like(matrix, rows), None if rows.device.type == "mps" else torch.float64
    parts = [
        (block @ square).mul_(block).sum(dim=1, dtype=dtype) for block in rows.split(_BLOCK_ROWS)
    ]
    return np.maximum(as_array(torch.cat(parts)), 0.0)


def _like(array: NDArray[np.float64], rows: Tensor) -> Tensor:
    return torch.from_numpy(array).to(rows.dtype).to(rows.device)


def _triangle(matrix: NDArray[np.float64]) -> Vector:
    return matrix[np.triu_indices(len(matrix))]


def _symmetric(triangle: NDArray[np.float64], width: int) -> NDArray[np.float64]:
    matrix = np.zeros((width, width))
    matrix[np.triu_indices(width)] = triangle
    return matrix + np.triu(matrix, 1).T
