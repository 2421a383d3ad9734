"""The second moment of a vector over tokens: from it, statistics along any direction follow."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, final

import numpy as np
import torch
from jaxtyping import Bool, Float
from numpy.typing import NDArray
from torch import Tensor

from backlight.stats.base import State, Statistic, as_array, taken, wide

Vector = NDArray[np.float64]

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
    The squared errors of millions of directions thus cost no more than two matrices of the width.
    """

    def __init__(self, width: int) -> None:
        self._sums: dict[str, NDArray[Any]] = {
            "sum": np.zeros(width),
            "weighted": np.zeros(width),
            "square": np.zeros((width, width)),
            "cluster_square": np.zeros((width, width)),
            "counts": np.zeros(3, dtype=np.int64),  # tokens, sequences, squared lengths
        }

    def update(
        self,
        values: Float[Tensor, "batch positions width"],
        *,
        valid: Bool[Tensor, "batch positions"],
        passages: Sequence[int],
    ) -> None:
        """See ``Moments.update``."""
        del passages
        tokens = values.flatten(0, 1)
        by_sequence, lengths = wide(values).sum(dim=1), valid.sum(dim=1)
        weights = lengths.to(by_sequence.dtype)
        self._sums["sum"] += as_array(by_sequence.sum(dim=0))
        self._sums["weighted"] += as_array(weights @ by_sequence)
        self._sums["square"] += as_array(tokens.T @ tokens)
        self._sums["cluster_square"] += as_array(by_sequence.T @ by_sequence)
        self._sums["counts"] += (int(lengths.sum()), len(lengths), int(lengths.square().sum()))

    def merge(self, other: "SecondMoment") -> None:
        """See ``Statistic.merge``."""
        self._sums = {name: own + other._sums[name] for name, own in self._sums.items()}

    def state(self) -> dict[str, NDArray[Any]]:
        """See ``Statistic.state``; of symmetric matrices one triangle is kept."""
        return {name: _triangle(own) if own.ndim == 2 else own for name, own in self._sums.items()}

    def restore(self, state: State) -> None:
        """See ``Statistic.restore``."""
        found = {name: taken(state, name, like) for name, like in self.state().items()}
        width = len(found["sum"])
        self._sums = {
            name: _symmetric(array, width) if self._sums[name].ndim == 2 else array
            for name, array in found.items()
        }

    def along(self, rows: Float[Tensor, "directions width"]) -> DirectionMoments:
        """Compute the statistics of ``g . w`` for each of some directions w.

        Args:
            rows: The directions; products are taken in their number format.

        Returns:
            One number for each direction, over all tokens seen so far; there must be one at least.
        """
        count, num_sequences, _ = self._sums["counts"].tolist()
        assert count > 0, "no token was seen"
        mean = self._sums["sum"] / count
        return DirectionMoments(
            num_tokens=count,
            num_sequences=num_sequences,
            mean=as_array(rows @ _like(mean, rows)),
            mean_se=self._errors(rows, mean),
            rms=np.sqrt(_quadratic(rows, self._sums["square"] / count)),
        )

    def _errors(self, rows: Tensor, mean: Vector) -> Vector:
        count, clusters, squared_lengths = self._sums["counts"].tolist()
        if clusters < 2:
            return np.full(len(rows), np.nan)
        # sum_m D_m D_m', multiplied out, as the mean was not known while sequences went by.
        crossed = np.outer(self._sums["weighted"], mean)
        spread = self._sums["cluster_square"] - crossed - crossed.T
        spread += squared_lengths * np.outer(mean, mean)
        scale = clusters / (clusters - 1) / count**2
        return np.sqrt(_quadratic(rows, spread * scale))


def _quadratic(rows: Float[Tensor, "directions width"], matrix: NDArray[np.float64]) -> Vector:
    """Compute w' A w for each row w, in blocks, as directions can be many."""
    square, dtype = _like(matrix, rows), None if rows.device.type == "mps" else torch.float64
    parts = [
        (block @ square).mul_(block).sum(dim=1, dtype=dtype) for block in rows.split(_BLOCK_ROWS)
    ]
    # A is a sum of squares, so no true value is negative; where rounding makes one so, it is 0.
    return np.maximum(as_array(torch.cat(parts)), 0.0)


def _like(array: NDArray[np.float64], rows: Tensor) -> Tensor:
    return torch.from_numpy(array).to(rows.dtype).to(rows.device)


def _triangle(matrix: NDArray[np.float64]) -> Vector:
    return matrix[np.triu_indices(len(matrix))]


def _symmetric(triangle: NDArray[np.float64], width: int) -> NDArray[np.float64]:
    matrix = np.zeros((width, width))
    matrix[np.triu_indices(width)] = triangle
    return matrix + np.triu(matrix, 1).T
