"""Shards that are measured in a fixed order until enough is known of the first of them.

Whether it is enough is asked of the first shard, the first two, and so on, whoever measured them
and in whatever order they arrived; shards behind the last one that was needed are dropped. What is
merged is what every tree has: spans of a power of two of shards that begin at a multiple of it. So
the state of the first shards is the whole of a run that has no more of them, byte for byte.
"""

from typing import Any, Protocol, final, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from backlight.runs.shards import Span
from backlight.runs.shelves import Shelf
from backlight.runs.states import Arrays, Join, ShardStates


@runtime_checkable
class Rule(Protocol):
    """Says when enough is known."""

    def part(self, state: Arrays) -> Arrays:
        """Take out of a state the sums that the rule looks at; those of several are added."""
        ...

    def is_enough(self, part: Arrays, num_shards: int) -> bool:
        """Return whether the sums of the first shards are enough."""
        ...


@final
class PrefixStates:
    """The states of a run's shards, from the first to the last that is needed.

    Attributes:
        num_needed: How many shards are needed; None as long as that is not known.
    """

    def __init__(
        self, num_shards: int, shelf: Shelf, join: Join, *, owner: str, rule: Rule
    ) -> None:
        """Look at what is there.

        Args:
            num_shards: How many shards there are at most.
            shelf: Where states lie.
            join: Merges two states.
            owner: The SHA-256 of the run's ``config.yaml``: states of other runs are refused.
            rule: Says when enough is known.
        """
        self.num_needed: int | None = None
        self._num, self._rule, self._join = num_shards, rule, join
        self._states = ShardStates(_power_of_two(num_shards), shelf, join, owner=owner)
        self._parts: dict[Span, Arrays] = {}
        # Nothing is merged before it was asked whether it is enough.
        self._num_asked = self._states.num_merged()

    def missing(self) -> list[int]:
        """List the shards that are not measured, as far as they are needed."""
        if self.num_needed is not None:
            return []
        return [shard for shard in self._states.missing() if shard < self._num]

    def publish(self, shard: int, state: Arrays) -> None:
        """Keep what was seen of a shard, and ask whether it is enough.

        A shard that is there already or is not needed is left out.

        Args:
            shard: Which.
            state: Its state.

        Raises:
            StorageError: If it cannot be written.
            RunDirectoryError: If another state is damaged.
        """
        if shard in self.missing():
            self._states.deposit(shard, state)
            self._ask()

    def tidy(self) -> None:
        """Finish what somebody was killed in, and ask of what workers deposited.

        Raises:
            StorageError: If nothing can be written.
            RunDirectoryError: If a state is damaged.
        """
        self._states.tidy(only_mergers=True)
        self._ask()

    def whole(self) -> Arrays:
        """Return the merged state of the shards that are needed.

        Raises:
            RunDirectoryError: If a state is damaged.
        """
        assert self.num_needed is not None, "shards are missing"
        return self._state(Span(0, self.num_needed))

    def part(self) -> Arrays:
        """Return what the rule looked at last: the sums of the shards that are needed."""
        assert self.num_needed is not None, "shards are missing"
        return self._part(Span(0, self.num_needed))

    def _ask(self) -> None:
        """Go on in order, as far as shards are there, until it is enough."""
        while self.num_needed is None and self._states.has(_leaf(self._num_asked)):
            shard, count = self._num_asked, self._num_asked + 1
            if self._rule.is_enough(self._part(Span(0, count)), count) or count == self._num:
                self.num_needed = count
                for other in range(count, self._num):
                    self._states.drop(other)
                return
            self._states.merge_back(shard)
            self._num_asked = count

    def _state(self, span: Span) -> dict[str, NDArray[Any]]:
        if self._states.has(span):
            return self._states.read(span)
        first, second = span.halves()
        return dict(self._join(self._state(first), self._state(second)))

    def _part(self, span: Span) -> Arrays:
        """Add sums up in the order of the tree, so that a resumed run has the same ones."""
        if span in self._parts:
            return self._parts[span]
        halves = () if span.is_leaf else span.halves()
        if self._states.has(span) and not all(half in self._parts for half in halves or (span,)):
            found = self._rule.part(self._states.read(span))
        else:
            found = added(*map(self._part, halves))
        if _is_merged(span):
            self._parts[span] = found
            for half in halves:
                self._parts.pop(half, None)
        return found


def added(first: Arrays, second: Arrays) -> dict[str, NDArray[Any]]:
    """Add arrays of the same names."""
    return {name: np.asarray(first[name] + second[name]) for name in first}


def _leaf(shard: int) -> Span:
    return Span(shard, shard + 1)


def _is_merged(span: Span) -> bool:
    """Return whether a span is in the tree however many shards there are."""
    size = span.stop - span.start
    return size == _power_of_two(size) and span.start % size == 0


def _power_of_two(num: int) -> int:
    """Return the smallest power of two that is not smaller."""
    return 1 << (num - 1).bit_length()
