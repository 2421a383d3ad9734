"""A run measured shard by shard, by one process: what is finished lies in the run directory.

A run that is resumed goes the same way: it measures the shards that are missing, the one in
progress from its checkpoint on.
"""

from collections.abc import Iterator, Sequence
from typing import Any, Generic, Protocol, TypeVar, final, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from backlight.runs.directory import RunDirectory
from backlight.runs.prefixes import PrefixStates
from backlight.runs.shelves import Memory
from backlight.runs.states import Arrays, ShardStates, state_names
from backlight.stats.base import taken
from backlight.stats.progress import Progress
from backlight.surveys.driver.shards.sharding import Sharding
from backlight.surveys.driver.steps import State, Step
from backlight.surveys.driver.words.sentences import count

_SHARD = "shard"

_State = TypeVar("_State", bound=State)


@runtime_checkable
class Engine(Protocol):
    """Others who measure shards."""

    def measured(self, shards: Sequence[int]) -> Iterator[tuple[int, Arrays]]:
        """Measure shards, and yield each with its state, in whatever order."""
        ...


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
        self._is_cut = len(sharding.shards) > 1  # else no state is published
        self._states = _states(sharding, directory)
        self._missing = self._states.missing()
        self._shard = self._missing[0] if self._missing else 0

    def done(self) -> int:
        """Count the tokens that were measured."""
        parts, shard = self._sharding, self._shard
        left = sum(parts.num_tokens_in(each) for each in self._missing)
        if shard in self._missing:
            left -= parts.num_done(shard, self._state)
        return sum(parts.num_tokens) - left

    def parts(self) -> Iterator[Iterator[Step]]:
        """Measure the shards that are missing, first the one in progress; then merge them.

        Yields:
            The steps of each shard, to be gone through before the next is asked for.
        """
        for shard in sorted(self._missing, key=lambda each: (each != self._shard, each)):
            if shard != self._shard:
                self._begin(shard)
            yield self._sharding.measure(shard, self._state)
            if self._is_cut:
                self._states.publish(shard, self._state.state())
                if not self._states.missing():  # it is enough
                    return

    def gathered(self, engine: Engine) -> Iterator[Step]:
        """Have the shards that are missing measured by others, and keep their states.

        Args:
            engine: Who measures.

        Yields:
            A step for each shard.
        """
        for shard, state in engine.measured(self._missing):
            self._states.publish(shard, state)
            yield Progress(num_tokens=self._sharding.num_tokens_in(shard), resumable=False)
            if not self._states.missing():
                return

    def how_far(self, num_workers: int) -> str:
        """Say in a few words how far others are."""
        num, left = len(self._sharding.shards), len(self._states.missing())
        return f"{num - left:,} of {count(num, 'shard')} by {count(num_workers, 'worker')}"

    def finish(self) -> None:
        """Take over what was seen of all shards; there is nothing to be kept after that."""
        if not self._states.missing():
            self._state.restore(dict(self._states.whole()))

    def told(self) -> dict[str, Any] | None:
        """Describe how sure the numbers became, if that was asked; see ``Stopping.told``."""
        rule, states = self._sharding.stopping, self._states
        if rule is None:
            return None
        if isinstance(states, PrefixStates) and states.num_needed is not None:
            return rule.told(states.part(), states.num_needed)
        return rule.told(rule.part(self._state.state()), len(self._sharding.shards))

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


def _states(sharding: Sharding[Any], directory: RunDirectory | None) -> ShardStates | PrefixStates:
    """Open the states of a run's shards."""
    num, rule = len(sharding.shards), sharding.stopping
    names = state_names(num)
    is_kept = directory is not None and (num > 1 or names[0] in directory.written())
    shelf = directory.shelf(names) if directory is not None and is_kept else Memory()
    owner = directory.owner() if directory is not None and is_kept else ""
    if rule is None:
        states = ShardStates(num, shelf, sharding.join, owner=owner)
    else:
        states = PrefixStates(num, shelf, sharding.join, owner=owner, rule=rule)
    states.tidy()
    return states
