"""How a corpus is cut into shards, and any of them measured: the same ones, whoever works."""

import hashlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from numpy.typing import NDArray

from backlight.data.batches import Passages
from backlight.runs.shards import cut
from backlight.runs.states import Arrays, Join
from backlight.surveys.driver.shards.stopping import Stopping
from backlight.surveys.driver.steps import Mergeable, State, Step

_State = TypeVar("_State", bound=State)

_Arrays = dict[str, NDArray[Any]]


@dataclass(frozen=True, kw_only=True)
class Sharding(Generic[_State]):
    """How a survey measures any shard of its corpus.

    Attributes:
        batches: The members of each batch, in the order in which they are measured.
        num_tokens: How many tokens each has; tokens times layers, where progress is counted in
            these.
        shards: The batches of each shard.
        fresh: Makes a state that has seen nothing.
        steps: Measures some batches and adds them to a state; those it has seen are left out.
        done: Counts the tokens that a state of a shard has seen, given those of each of its
            batches.
        joined: Merges the states of two neighbours where they are large, and uses both up; None
            for the states' own way.
        rounds: The batches for which something is done once, such as reading all dictionaries;
            none where there is no such thing.
        bytes_per_position: What is kept in memory of each position of a round's batches.
        stopping: When enough of the shards are measured; None to measure all.
    """

    batches: Sequence[Sequence[int]]
    num_tokens: Sequence[int]
    shards: Sequence[range]
    fresh: Callable[[], _State]
    steps: Callable[[Sequence[Sequence[int]], _State], Iterator[Step]]
    done: Callable[[_State, Sequence[int]], int]
    joined: Join | None = None
    rounds: Sequence[Sequence[Sequence[int]]] = ()
    bytes_per_position: float = 0.0
    stopping: Stopping | None = None

    @staticmethod
    def of(
        passages: Passages,
        batches: Sequence[Sequence[int]],
        *,
        seen: Callable[[Any], int],
        shards: Sequence[range] | None = None,
        **how: Any,
    ) -> "Sharding[Any]":
        """Cut a corpus into shards.

        Args:
            passages: The corpus.
            batches: The members of each batch.
            seen: Counts the batches that a state has seen.
            shards: The batches of each shard, where they are not cut by their tokens.
            **how: ``fresh``, ``steps``, ``joined`` and ``stopping``.

        Returns:
            How it is measured.
        """
        num_tokens = tokens_of(passages, batches)

        def done(state: Any, tokens: Sequence[int]) -> int:
            return sum(tokens[: seen(state)])

        shards = cut(num_tokens) if shards is None else shards
        return Sharding(batches=batches, num_tokens=num_tokens, shards=shards, done=done, **how)

    @property
    def material(self) -> dict[str, Any]:
        """Describe the cut, so that states of another one are not taken up."""
        starts = ",".join(str(shard.start) for shard in self.shards)
        told = {
            "num_shards": len(self.shards),
            "starts_sha256": hashlib.sha256(starts.encode()).hexdigest(),
        }
        return {"shards": told}

    def measure(self, shard: int, state: _State) -> Iterator[Step]:
        """Measure what a state has not seen yet of a shard."""
        return self.steps([self.batches[batch] for batch in self.shards[shard]], state)

    def num_tokens_in(self, shard: int) -> int:
        """Count the tokens of a shard."""
        return sum(self._tokens_by_batch(shard))

    def num_done(self, shard: int, state: _State) -> int:
        """Count the tokens of a shard that its state has seen."""
        return self.done(state, self._tokens_by_batch(shard))

    def join(self, first: _Arrays, second: _Arrays) -> Arrays:
        """Merge the states of two neighbours, which may be used up."""
        if self.joined is not None:
            return self.joined(first, second)
        merged, other = self.fresh(), self.fresh()
        assert isinstance(merged, Mergeable), "of one shard nothing is merged"
        merged.restore(first)
        other.restore(second)
        merged.merge(other)
        return merged.state()

    def _tokens_by_batch(self, shard: int) -> list[int]:
        return [self.num_tokens[batch] for batch in self.shards[shard]]


def tokens_of(passages: Passages, batches: Sequence[Sequence[int]]) -> list[int]:
    """Count the tokens of each batch.

    Args:
        passages: The corpus.
        batches: The members of each batch.

    Returns:
        How many tokens each has, without pads.
    """
    lengths = passages.lengths.tolist()
    return [sum(lengths[member] for member in members) for members in batches]
