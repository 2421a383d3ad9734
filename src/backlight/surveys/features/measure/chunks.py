"""How batches are put together into chunks, for which each dictionary is read once, and shards."""

from collections.abc import Sequence
from itertools import accumulate, pairwise

from backlight.data.batches import Passages
from backlight.runs.shards import cut

Chunk = list[Sequence[int]]
"""The members of each of its batches."""

LEAST_TOKENS = 8192
"""So many tokens of a chunk take much longer to measure than its dictionaries take to be read."""

_BYTES_PER_TOKEN = 10_000
"""At most so many bytes of a state are written for each token of a shard, if it is large."""


def enough_tokens(state_bytes: int) -> int:
    """Choose how many tokens are enough for a chunk, and so for a shard.

    >>> enough_tokens(200_000_000)
    20000

    Args:
        state_bytes: How large a state of the survey is.

    Returns:
        The more, the larger it is, as each shard has one that is written, read and merged.
    """
    return max(LEAST_TOKENS, state_bytes // _BYTES_PER_TOKEN)


def chunks_of(
    passages: Passages,
    batches: Sequence[Sequence[int]],
    bytes_per_position: float,
    *,
    chunk_bytes: int,
    chunk_tokens: int,
) -> list[Chunk]:
    """Put batches together until the memory for a chunk is full, or it has enough tokens.

    Args:
        passages: The corpus.
        batches: The members of each batch. Batches that begin where a chunk does are cut in the
            same way as all of them.
        bytes_per_position: What is kept of each position while dictionaries go by.
        chunk_bytes: How much may be kept.
        chunk_tokens: How many tokens are enough.

    Returns:
        The chunks, each with one batch at least.
    """
    chunks: list[Chunk] = []
    room, held = 0.0, chunk_tokens
    for members in batches:
        lengths = [len(passages.tokens[member]) for member in members]
        positions = len(members) * max(lengths)
        if held >= chunk_tokens or positions * bytes_per_position > room:
            chunks.append([])
            room, held = float(chunk_bytes), 0
        chunks[-1].append(members)
        room -= positions * bytes_per_position
        held += sum(lengths)
    return chunks


def shards_of(chunks: Sequence[Chunk], num_tokens: Sequence[int], *, least: int) -> list[range]:
    """Cut a corpus into shards of whole chunks: no dictionary is read for less.

    Args:
        chunks: The chunks of all batches.
        num_tokens: How many tokens each batch has.
        least: How many tokens a shard has at least, but for the last.

    Returns:
        The batches of each shard.
    """
    edges = list(accumulate(map(len, chunks), initial=0))
    by_chunk = [sum(num_tokens[start:stop]) for start, stop in pairwise(edges)]
    return [range(edges[each.start], edges[each.stop]) for each in cut(by_chunk, least=least)]
