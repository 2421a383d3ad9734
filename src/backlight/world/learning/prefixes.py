"""What rows begin with alike: computed once, however many rows there are.

In a causal model the states of a token depend on no later one, so rows with the same beginning
share its keys and values, and its gradient is the sum of theirs. The cut is where the fewest tokens
are left to compute.
"""

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Int
from torch import Tensor


@dataclass(frozen=True, slots=True, kw_only=True)
class SharedPrefixes:
    """Rows cut in two.

    Attributes:
        prefixes: The different beginnings.
        which: For each row the index of its beginning.
        rest: For each row the tokens after it.
    """

    prefixes: Int[Tensor, "prefixes cut"]
    which: Int[Tensor, " rows"]
    rest: Int[Tensor, "rows rest"]


def share_prefixes(tokens: Int[Tensor, "rows length"], longest: int) -> SharedPrefixes:
    """Cut rows where the fewest tokens are left to compute.

    Args:
        tokens: Rows that all begin with the same token.
        longest: Where to cut at the latest; at least 1, and less than the length.

    Returns:
        The rows in two parts.
    """
    # Rows are grouped by their first tokens, one place after another: two rows are of one kind up
    # to a place if they were of one kind before it and have the same token there. So numbering
    # the pairs of (kind, token) anew at each place compares whole beginnings without ever looking
    # at one again. The pair is made one whole number, kind * (largest token + 1) + token, which is
    # different for different pairs.
    table = tokens.numpy()
    num_rows, length = table.shape
    kinds = np.zeros(num_rows, np.int64)
    fewest, cut, which, first = num_rows * length + 1, 0, kinds, kinds
    for place in range(1, longest + 1):
        pairs = kinds * (int(table.max()) + 1) + table[:, place - 1]
        _, starts, kinds = np.unique(pairs, return_index=True, return_inverse=True)
        cost = len(starts) * place + num_rows * (length - place)
        if cost < fewest:
            fewest, cut, which, first = cost, place, kinds, starts
    return SharedPrefixes(
        prefixes=tokens[torch.from_numpy(first), :cut],
        which=torch.from_numpy(which),
        rest=tokens[:, cut:],
    )
