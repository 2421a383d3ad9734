"""Which shards are still to be given out, and what became of those that were."""

from collections import Counter, deque
from collections.abc import Sequence
from typing import final

from backlight.errors import WorkerError

MOST_DEATHS = 3
"""How many workers may die at one shard: then it is the shard that kills them."""


@final
class ShardQueue:
    """Shards that are given out to workers, again if a worker was lost.

    >>> queue = ShardQueue([4, 5])
    >>> queue.take(), queue.take(), queue.take()
    (4, 5, None)
    >>> queue.lost(4), queue.take()
    (None, 4)
    >>> queue.done(4), queue.done(4), queue.is_open
    (True, False, True)
    """

    def __init__(self, shards: Sequence[int]) -> None:
        self._waiting, self._open = deque(shards), set(shards)
        self._deaths = Counter[int]()
        self._out = Counter[int]()

    @property
    def is_open(self) -> bool:
        """Whether there are shards that are not done."""
        return bool(self._open)

    def take(self) -> int | None:
        """Take the next shard that waits; None if none does."""
        while self._waiting:
            shard = self._waiting.popleft()
            if shard in self._open:
                self._out[shard] += 1
                return shard
        return None

    def doubt(self) -> None:
        """Let what was given to one worker alone, and is not done, be given to another one too.

        So do the backup tasks of MapReduce (Dean and Ghemawat 2004): nobody need find out whether
        a worker is lost or slow. What comes first counts; it is the same whoever measured it.
        """
        if not self._waiting:
            self._waiting.extend(sorted(each for each in self._open if self._out[each] == 1))

    def done(self, shard: int) -> bool:
        """Note that a shard was measured.

        Args:
            shard: Which.

        Returns:
            Whether it had not been before.
        """
        new = shard in self._open
        self._open.discard(shard)
        return new

    def lost(self, shard: int, why: str = "what they last said stands above") -> None:
        """Note that a worker was lost at a shard, which is now the next to be given out.

        Args:
            shard: Which.
            why: What is known of it.

        Raises:
            WorkerError: If it was the last of so many that it must be the shard.
        """
        self._out[shard] -= 1
        if shard not in self._open:
            return
        self._deaths[shard] += 1
        if self._deaths[shard] >= MOST_DEATHS:
            raise WorkerError(
                f"{MOST_DEATHS} workers died one after the other as they measured shard {shard}; "
                f"{why}. Fewer --workers need less memory; what was measured is kept: go on with "
                "--resume."
            )
        self._waiting.appendleft(shard)
