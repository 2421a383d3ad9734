"""How a corpus is cut into shards, and any of them measured: the same ones, whoever works."""

import hashlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from backlight.data.batches import Passages
from backlight.runs.shards import cut
from backlight.stats.base import State
from backlight.surveys.driver.steps import Mergeable, Step
from backlight.surveys.driver.stopping import Stopping

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
        stopping: When enough of the shards are measured; None to measure all.
    """

    batches: Sequence[Sequence[int]]
    num_tokens: Sequence[int]
    shards: Sequence[range]
    fresh: Callable[[], _State]
    steps: Callable[[Sequence[Sequence[int]], _State], Iterator[Step]]
    seen: Callable[[_State], int]
    stopping: Stopping | None = None

    @staticmethod
    def of(
        passages: Passages,
        batches: Sequence[Sequence[int]],
        *,
        shards: Sequence[range] | None = None,
        **how: Any,
    ) -> "Sharding[Any]":
        """Cut a corpus into shards.

        Args:
            passages: The corpus.
            batches: The members of each batch.
            shards: The batches of each shard, where they are not cut by their tokens.
            **how: ``fresh``, ``steps``, ``seen`` and ``stopping``.

        Returns:
            How it is measured.
        """
        lengths = passages.lengths.tolist()
        num_tokens = [sum(lengths[member] for member in each) for each in batches]
        shards = cut(num_tokens) if shards is None else shards
        return Sharding(batches=batches, num_tokens=num_tokens, shards=shards, **how)

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

    def num_tokens_in(self, shard: int, num_batches: int | None = None) -> int:
        """Count the tokens of a shard, or of its first batches."""
        return sum(self.num_tokens[batch] for batch in self.shards[shard][:num_batches])

    def join(self, first: State, second: State) -> State:
        """Merge the states of two neighbours."""
        merged, other = self.fresh(), self.fresh()
        merged.restore(dict(first))
        other.restore(dict(second))
        merged.merge(other)
        return merged.state()
