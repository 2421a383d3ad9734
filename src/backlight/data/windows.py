"""Passages in an order drawn by chance, so that the first of them are a sample of all."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from backlight.data.batches import Passages, bucket

WINDOW = 32
"""How many passages a window has at least, but for the last."""

_SHARE = 64


@dataclass(frozen=True, slots=True, kw_only=True)
class Windows:
    """A corpus in an order drawn by chance, cut into windows, and these into batches.

    Attributes:
        batches: The members of each batch.
        shards: The batches of each window.
        num_passages: How many passages the windows up to each have.
    """

    batches: Sequence[tuple[int, ...]]
    shards: Sequence[range]
    num_passages: Sequence[int]


def draw_windows(passages: Passages, *, batch_size: int, seed: int) -> Windows:
    """Draw the order in which the passages of a corpus are measured, if only some may be.

    The first windows have 32 passages (as many more as fill a batch), later ones a sixty-fourth of
    those before them: so there are no more than a thousand. Within a window passages of like length
    are batched. The same passages, size and seed always give the same windows.

    Args:
        passages: The corpus.
        batch_size: Passages in a batch; the last batch of a window may have fewer.
        seed: Fixes the order.

    Returns:
        The windows.
    """
    order = np.random.default_rng(seed).permutation(len(passages.tokens))
    batches: list[tuple[int, ...]] = []
    shards: list[range] = []
    ends: list[int] = []
    start = 0
    while start < len(order):
        size = -(-max(WINDOW, start // _SHARE) // batch_size) * batch_size
        members = order[start : start + size]
        first = len(batches)
        batches += _batches(passages, members.tolist(), batch_size, seed)
        start += len(members)
        shards.append(range(first, len(batches)))
        ends.append(start)
    return Windows(batches=batches, shards=shards, num_passages=ends)


def _batches(
    passages: Passages, members: Sequence[int], batch_size: int, seed: int
) -> list[tuple[int, ...]]:
    window = replace(passages, tokens=[passages.tokens[each] for each in members], counted=None)
    grouped = bucket(window, batch_size=batch_size, seed=seed)
    return [tuple(members[place] for place in group) for group in grouped]
