"""Sums over pairs of a query and a key, by how far apart they are."""

import torch
from jaxtyping import Float
from torch import Tensor

from backlight.decompose.precision import wide

NUM_BINS = 18
"""Distances 0, 1, 2-3, 4-7, ...; the last bin is open and starts at 65,536."""


def distance_bins() -> list[int]:
    """Return the smallest distance of each bin."""
    return [0, *(2**power for power in range(NUM_BINS - 1))]


def squares_by_distance(
    values: Float[Tensor, "*heads queries keys"], *, lead: int
) -> Float[Tensor, "*heads bins"]:
    """Add up squares of a block of queries and keys along its diagonals, then by powers of two.

    Args:
        values: A number for each pair; zero where the key is not seen.
        lead: How far the first query stands behind the first key: position less position.

    Returns:
        The sum of squares in each bin, float64.
    """
    *heads, num_queries, num_keys = values.shape
    width = num_queries + num_keys - 1
    sheared = values.new_zeros(*heads, num_queries, width)
    # Row r moves right by (num_queries - 1 - r), so that a diagonal becomes a column.
    strides = (*sheared.stride()[:-2], width - 1, 1)
    torch.mul(values, values, out=sheared.as_strided(values.shape, strides, num_queries - 1))
    columns = torch.arange(width, device=values.device)
    distances = (lead + num_queries - 1 - columns).abs()
    by_column = wide(sheared.sum(dim=-2))
    return by_column @ torch.nn.functional.one_hot(_bin(distances), NUM_BINS).to(by_column.dtype)


def _bin(distances: Tensor) -> Tensor:
    starts = torch.tensor(distance_bins(), device=distances.device)
    return torch.bucketize(distances, starts, right=True) - 1
