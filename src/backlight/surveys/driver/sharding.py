"""A corpus measured shard by shard: the same shards, merged in the same tree, whoever works.

A run of one process goes this way too, and so does one that is resumed: what was seen of finished
shards lies in the run directory, and of the shard in progress there is a checkpoint.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Generic, TypeVar, final

import numpy as np
from numpy.typing import NDArray

from backlight.data.batches import Passages
from backlight.runs.directory import RunDirectory
from backlight.runs.shards import cut
from backlight.runs.shelves import Memory
from backlight.runs.states import Arrays, ShardStates, state_names
from backlight.stats.base import taken
from backlight.surveys.driver.steps import Mergeable, Step

_SHARD = "shard"

_State = TypeVar("_State", bound=Mergeable)


@dataclass(frozen=True, kw_only=True)
class Sharding(Generic[_State]):
    """How a survey measures any shard of its corpus.

    Attributes:
        batches: The members of each batch, in the order in which they are measured.
        num_tokens: How many tokens each has.
        shards: The batches of each shard.
        fresh: Makes a state that has seen nothing.
        steps: Measures some batches and adds them to a state; those it has seen are left out.
        seen: Counts the batches that a state has seen.
    """

    batches: Sequence[Sequence[int]]
    num_tokens: Sequence[int]
    shards: Sequence[range]
    fresh: Callable[[], _State]
    steps: Callable[[Sequence[Sequence[int]], _State], Iterator[Step]]
    seen: Callable[[_State], int]

    @staticmethod
    def of(passages: Passages, batches: Sequence[Sequence[int]], **how: Any) -> "Sharding[Any]":
        """Cut a corpus into shards.

        Args:
            passages: The corpus.
            batches: The members of each batch.
            **how: ``fresh``, ``steps`` and ``seen``.

        Returns:
            How it is measured.
        """
        num_tokens = [sum(len(passages.tokens[member]) for member in each) for each in batches]
        return Sharding(batches=batches, num_tokens=num_tokens, shards=cut(num_tokens), **how)

    @property
    def material(self) -> dict[str, Any]:
        """Describe the cut, if there is one: states of another one must not be taken up."""
        if len(self.shards) == 1:
            return {}
        return {"shards": {"num_shards": len(self.shards), "num_batches": len(self.batches)}}

    def measure(self, shard: int, state: _State) -> Iterator[Step]:
        """Measure what a state has not seen yet of a shard."""
        return self.steps([self.batches[batch] for batch in self.shards[shard]], state)

    def num_tokens_in(self, shard: int, num_batches: int | None = None) -> int:
        """Count the tokens of a shard, or of its first batches."""
        return sum(self.num_tokens[batch] for batch in self.shards[shard][:num_batches])

    def join(self, first: Arrays, second: Arrays) -> Arrays:
        """Merge the states of two neighbours."""
        merged, other = self.fresh(), self.fresh()
        merged.restore(dict(first))
        other.restore(dict(second))
        merged.merge(other)
        return merged.state()


@final
class Shardwise(Generic[_State]):
    """A corpus that this process measures shard by shard.

    Its state, for a checkpoint, is that of the shard in progress, and which shard that is. A corpus
    of one shard has no other states.
    """

    def __init__(
        self, sharding: Sharding[_State], state: _State, directory: RunDirectory | None
    ) -> None:
        """Find out which shards are measured already.

        Args:
            sharding: How shards are measured.
            state: Of the shard in progress; at the end, of the whole corpus.
            directory: The run; None for one that is written nowhere.
        """
        self._sharding, self._state = sharding, state
        self._states = _states(sharding, directory)
        self._missing = self._states.missing()
        self._shard = self._missing[0] if self._missing else 0

    def done(self) -> int:
        """Count the tokens that were measured."""
        parts, shard = self._sharding, self._shard
        left = sum(parts.num_tokens_in(each) for each in self._missing)
        if shard in self._missing:
            left -= parts.num_tokens_in(shard, parts.seen(self._state))
        return sum(parts.num_tokens) - left

    def steps(self) -> Iterator[Step]:
        """Measure the shards that are missing, first the one in progress."""
        is_cut = len(self._sharding.shards) > 1
        for shard in sorted(self._missing, key=lambda each: (each != self._shard, each)):
            if shard != self._shard:
                self._begin(shard)
            yield from self._sharding.measure(shard, self._state)
            if is_cut:
                self._states.publish(shard, self._state.state())
        if is_cut:
            self._state.restore(dict(self._states.whole()))

    def state(self) -> dict[str, NDArray[Any]]:
        """Copy the state of the shard in progress."""
        return {**self._state.state(), _SHARD: np.array(self._shard)}

    def restore(self, state: dict[str, NDArray[Any]]) -> None:
        """Take up the shard that was in progress, unless it was finished since.

        Args:
            state: What ``state`` returned.

        Raises:
            StateError: If it is not of the survey's form.
        """
        shard = int(taken(state, _SHARD, np.zeros((), dtype=np.int64)))
        if shard in self._missing:
            self._shard = shard
            self._state.restore({name: each for name, each in state.items() if name != _SHARD})

    def _begin(self, shard: int) -> None:
        self._shard = shard
        self._state.restore(self._sharding.fresh().state())


def _states(sharding: Sharding[Any], directory: RunDirectory | None) -> ShardStates:
    """Open the states of a run's shards."""
    num = len(sharding.shards)
    if directory is None or num == 1:
        return ShardStates(num, Memory(), sharding.join, owner="")
    states = ShardStates(
        num, directory.shelf(state_names(num)), sharding.join, owner=directory.owner()
    )
    states.tidy()
    return states
