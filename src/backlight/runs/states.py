"""What was seen of each shard, kept sparingly: two neighbours in the tree become one file."""

from collections.abc import Callable, Mapping
from typing import Any, final

from numpy.typing import NDArray

from backlight.errors import RunDirectoryError, quoted
from backlight.runs.checkpoint import pack, unpack
from backlight.runs.files import npz_bytes
from backlight.runs.shards import Span, tree
from backlight.runs.shelves import Shelf

FOLDER = "shards"
"""The folder of a run directory in which states of shards lie while the run is going on."""

Arrays = Mapping[str, NDArray[Any]]

Join = Callable[[dict[str, NDArray[Any]], dict[str, NDArray[Any]]], Arrays]
"""Merges the states of two neighbours, the earlier one first; it may use both up."""


def state_names(num_shards: int) -> list[str]:
    """List the names that files of states can have in a run directory.

    >>> state_names(2)
    ['shards/00000-00002.npz', 'shards/00000-00001.npz', 'shards/00001-00002.npz']

    Args:
        num_shards: Into how many shards the corpus was cut.

    Returns:
        The names, that of the whole first.
    """
    return [_file_of(span) for span in tree(num_shards)]


@final
class ShardStates:
    """The states of a run's shards, from the first to the whole.

    A state is published at once under the name of its span. As soon as both halves of a span are
    there, their merger is published, and then they are deleted; so in whatever order shards
    arrive, the same states are merged in the same order. Who is killed between any two of these
    operations leaves files from which the next one goes on to the same bytes. Shards that one
    process measures in order leave one file for each binary digit of their number.
    """

    def __init__(self, num_shards: int, shelf: Shelf, join: Join, *, owner: str) -> None:
        """Look at what is there.

        Args:
            num_shards: Into how many shards the corpus was cut.
            shelf: Where states lie.
            join: Merges two states.
            owner: The SHA-256 of the run's ``config.yaml``: states of other runs are refused.
        """
        self._whole, self._shelf, self._join, self._owner = Span(0, num_shards), shelf, join, owner
        spans = list(tree(num_shards))
        self._parents = {half: span for span in spans if not span.is_leaf for half in span.halves()}
        there = shelf.names()
        self._there = {span for span in spans if _file_of(span) in there}

    def missing(self) -> list[int]:
        """List the shards that are neither here nor in a merger that is."""
        done = {shard for span in self._there for shard in range(span.start, span.stop)}
        return [shard for shard in range(self._whole.stop) if shard not in done]

    def deposit(self, shard: int, state: Arrays) -> None:
        """Publish what was seen of a shard and merge nothing, as a worker beside others does.

        Args:
            shard: Which.
            state: Its state.

        Raises:
            StorageError: If it cannot be written.
        """
        self._put(Span(shard, shard + 1), state)

    def publish(self, shard: int, state: Arrays) -> None:
        """Publish what was seen of a shard, and merge what can be; for one process at a time.

        A shard that is there already, because it was measured twice, is left as it is.

        Args:
            shard: Which.
            state: Its state.

        Raises:
            StorageError: If it cannot be written.
            RunDirectoryError: If the neighbour's state is damaged.
        """
        leaf = Span(shard, shard + 1)
        if not any(span.covers(leaf) for span in self._there):
            self._put(leaf, state)
            self._merge_from(leaf, dict(state))

    def tidy(self, *, only_mergers: bool = False) -> None:
        """Finish what somebody was killed in, and merge what workers deposited.

        Args:
            only_mergers: Leave every shard that is by itself so.

        Raises:
            StorageError: If nothing can be written.
            RunDirectoryError: If a state is damaged.
        """
        for span in sorted(self._there, key=lambda each: each.start - each.stop):
            if span != self._whole and self._is_covered(span):
                self._remove(span)
        for span in sorted(self._there):
            if span in self._there and not (only_mergers and span.is_leaf):
                self._merge_from(span, None)

    def num_merged(self) -> int:
        """Count the shards up to the end of the last merger."""
        return max((span.stop for span in self._there if not span.is_leaf), default=0)

    def has(self, span: Span) -> bool:
        """Return whether the state of a span is there by itself."""
        return span in self._there

    def read(self, span: Span) -> dict[str, NDArray[Any]]:
        """Read the state of a span that is there.

        Args:
            span: Which.

        Returns:
            The state.

        Raises:
            RunDirectoryError: If it is damaged.
        """
        return self._read(span)

    def merge_back(self, shard: int) -> None:
        """Merge a shard with those before it, as far as the tree says, and with none behind it.

        Args:
            shard: Which; it is there by itself, and so are all before it, or in mergers.

        Raises:
            StorageError: If it cannot be written.
            RunDirectoryError: If a state is damaged.
        """
        if shard % 2:
            self._merge_from(Span(shard, shard + 1), None)

    def drop(self, shard: int) -> None:
        """Delete what was seen of a shard that is by itself.

        Args:
            shard: Which.
        """
        if self.has(Span(shard, shard + 1)):
            self._remove(Span(shard, shard + 1))

    def whole(self) -> Arrays:
        """Return the merged state of all shards.

        Raises:
            RunDirectoryError: If shards are missing, or the state is damaged.
        """
        if self._whole not in self._there:
            raise RunDirectoryError(
                f"{len(self.missing())} of {self._whole.stop} shards are not measured yet."
            )
        return self._read(self._whole)

    def _merge_from(self, span: Span, state: dict[str, NDArray[Any]] | None) -> None:
        """Merge a state with its neighbour if that is there, and so on up the tree."""
        while span != self._whole:
            parent = self._parents[span]
            first, second = parent.halves()
            if not {first, second} <= self._there:
                return
            before, after = (
                self._read(half) if half != span or state is None else state
                for half in (first, second)
            )
            state = dict(self._join(before, after))
            self._put(parent, state)
            self._remove(first)
            self._remove(second)
            span = parent

    def _is_covered(self, span: Span) -> bool:
        return any(other != span and other.covers(span) for other in self._there)

    def _put(self, span: Span, state: Arrays) -> None:
        self._shelf.put(_file_of(span), npz_bytes(pack(state, self._owner_of(span))))
        self._there.add(span)

    def _remove(self, span: Span) -> None:
        self._shelf.remove(_file_of(span))
        self._there.discard(span)

    def _read(self, span: Span) -> dict[str, NDArray[Any]]:
        name = _file_of(span)
        path = self._shelf.place(name)
        try:
            return unpack(self._shelf.read(name), self._owner_of(span), path)
        except (RunDirectoryError, ValueError) as error:
            raise RunDirectoryError(
                f"The state of shards in {quoted(path)} is damaged ({error}); delete it to measure "
                "them anew."
            ) from error

    def _owner_of(self, span: Span) -> str:
        return f"{self._owner} {span.name}"  # a file under another span's name is no state


def _file_of(span: Span) -> str:
    return f"{FOLDER}/{span.name}.npz"
