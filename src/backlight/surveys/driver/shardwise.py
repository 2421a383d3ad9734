"""A run measured shard by shard, by one process: what is finished lies in the run directory.

A run that is resumed goes the same way: it measures the shards that are missing, the one in
progress from its checkpoint on.
"""

from collections.abc import Iterator, Sequence
from typing import Any, Generic, Protocol, TypeVar, final, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from backlight.runs.directory import RunDirectory
from backlight.runs.shelves import Memory
from backlight.runs.states import Arrays, ShardStates, state_names
from backlight.stats.base import taken
from backlight.stats.progress import Progress
from backlight.surveys.driver.measurement import Measurement
from backlight.surveys.driver.sharding import Sharding
from backlight.surveys.driver.steps import Mergeable, Step

_SHARD = "shard"

_State = TypeVar("_State", bound=Mergeable)


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
            left -= parts.num_tokens_in(shard, parts.seen(self._state))
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

    def finish(self) -> None:
        """Take over what was seen of all shards; there is nothing to be kept after that."""
        if not self._states.missing():
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
    names = state_names(num)
    if directory is None or (num == 1 and names[0] not in directory.written()):
        return ShardStates(num, Memory(), sharding.join, owner="")
    states = ShardStates(num, directory.shelf(names), sharding.join, owner=directory.owner())
    states.tidy()
    return states


@final
class AsOne:
    """A measurement that is not cut into shards."""

    def __init__(self, measurement: Measurement[Any, Any]) -> None:
        """Measure it by its own steps."""
        self.done, self._steps = measurement.done, measurement.steps
        self.state, self.restore = measurement.state.state, measurement.state.restore

    def parts(self) -> Iterator[Iterator[Step]]:
        """See ``Shardwise.parts``: it is one part."""
        yield self._steps()

    def finish(self) -> None:
        """See ``Shardwise.finish``: nothing is left to do."""


def work_of(
    measurement: Measurement[Any, Any], directory: RunDirectory | None
) -> Shardwise[Any] | AsOne:
    """Choose how a measurement is gone through.

    Args:
        measurement: The survey, ready to run.
        directory: The run; None for one that is written nowhere.

    Returns:
        What measures what is missing.
    """
    if measurement.sharding is None:
        return AsOne(measurement)
    return Shardwise(measurement.sharding, measurement.state, directory)
