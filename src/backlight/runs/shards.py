"""How a corpus is cut into shards, and the fixed tree in which what was seen of them is merged.

Both follow from the corpus and the options alone, never from who works, how many, or how fast: sums
of floating-point numbers depend on their order, so a fixed order gives the same bytes everywhere.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from math import ceil

MOST_SHARDS = 1024
"""Into how many shards a corpus is cut at most: their states are files."""

LEAST_TOKENS = 2048
"""How many tokens a shard has at least, but for the last: some seconds of work of one thread."""


@dataclass(frozen=True, slots=True, order=True)
class Span:
    """Some shards, one after another, whose states were merged into one.

    >>> Span(0, 5).halves()
    (Span(start=0, stop=4), Span(start=4, stop=5))

    Attributes:
        start: The first.
        stop: The one after the last.
    """

    start: int
    stop: int

    @property
    def is_leaf(self) -> bool:
        """Whether it is one shard."""
        return self.stop - self.start == 1

    @property
    def name(self) -> str:
        """How its file is called; names sort as the spans do."""
        return f"{self.start:05d}-{self.stop:05d}"

    def halves(self) -> tuple["Span", "Span"]:
        """Split it: the first half has the largest power of two of shards that leaves a second."""
        assert not self.is_leaf, "one shard has no halves"
        middle = self.start + (1 << ((self.stop - self.start - 1).bit_length() - 1))
        return Span(self.start, middle), Span(middle, self.stop)

    def covers(self, other: "Span") -> bool:
        """Return whether all shards of another are among its own."""
        return self.start <= other.start and other.stop <= self.stop


def cut(num_tokens: Sequence[int], *, least: int = LEAST_TOKENS) -> list[range]:
    """Cut batches into shards: runs of batches with about as many tokens each.

    >>> cut([600, 900, 700, 800, 100], least=1500)
    [range(0, 2), range(2, 4), range(4, 5)]

    Args:
        num_tokens: How many tokens each batch has, in the order in which they are measured.
        least: How many tokens a shard has at least, but for the last.

    Returns:
        The batches of each shard, at most ``MOST_SHARDS`` of them; every batch is in one.
    """
    enough = max(least, ceil(sum(num_tokens) / MOST_SHARDS))
    shards: list[range] = []
    start = held = 0
    for batch, tokens in enumerate(num_tokens):
        held += tokens
        if held >= enough or batch == len(num_tokens) - 1:
            shards.append(range(start, batch + 1))
            start, held = batch + 1, 0
    return shards


def tree(num_shards: int) -> Iterator[Span]:
    """List all spans that are ever merged, each before its halves; the first is the whole.

    Args:
        num_shards: How many shards there are, at least one.

    Yields:
        ``2 num_shards - 1`` spans.
    """
    waiting = [Span(0, num_shards)]
    while waiting:
        span = waiting.pop()
        yield span
        if not span.is_leaf:
            waiting.extend(reversed(span.halves()))
