"""Tokens of a large corpus, kept on disk instead of in memory."""

import tempfile
from collections.abc import Iterable, Sequence
from itertools import chain
from typing import Any, final, overload

import numpy as np
from numpy.typing import NDArray

from backlight.errors import DatasetError, StorageError

MOST_IN_MEMORY = 2**20
"""How many tokens are kept in memory; those of a corpus that has more are kept on disk."""

_ON_DISK = np.int32
_PIECE = 2**16  # tokens that are written at once


@final
class StoredTokens(Sequence[NDArray[np.int64]]):
    """Passages in a file that is gone when nobody reads it any more, also if the process is killed.

    Attributes:
        lengths: How many tokens each passage has.
    """

    def __init__(
        self, flat: NDArray[Any], ends: NDArray[np.int64], starts: NDArray[np.int64]
    ) -> None:
        """Hold passages.

        Args:
            flat: The tokens of all passages, one after another.
            ends: Where each passage ends there.
            starts: Where each begins.
        """
        self._flat, self._starts, self._ends = flat, starts, ends
        self.lengths: NDArray[np.int64] = ends - starts

    def __len__(self) -> int:
        """Count the passages."""
        return len(self._ends)

    @overload
    def __getitem__(self, place: int) -> NDArray[np.int64]: ...
    @overload
    def __getitem__(self, place: slice) -> "StoredTokens": ...
    def __getitem__(self, place: int | slice) -> "NDArray[np.int64] | StoredTokens":
        """Read a passage, or choose several without reading them."""
        if isinstance(place, slice):
            return StoredTokens(self._flat, self._ends[place], self._starts[place])
        return np.array(self._flat[self._starts[place] : self._ends[place]], dtype=np.int64)

    def cut(self, longest: int | None) -> "StoredTokens":
        """Cut all passages after so many tokens; None for nowhere."""
        if longest is None:
            return self
        ends = np.minimum(self._ends, self._starts + longest)
        return StoredTokens(self._flat, ends, self._starts)


def stored(
    passages: Iterable[NDArray[np.int64]], *, most: int = MOST_IN_MEMORY
) -> Sequence[NDArray[np.int64]]:
    """Keep passages in memory as long as they are few, else in a temporary file.

    Args:
        passages: The tokens of each; they are read once.
        most: How many tokens are kept in memory.

    Returns:
        A list; or, of more tokens, what reads them from the file, as 32-bit numbers there.

    Raises:
        DatasetError: If a token id does not fit into 32 bits.
        StorageError: If the file cannot be written.
    """
    passages = iter(passages)
    held: list[NDArray[np.int64]] = []
    size = 0
    for passage in passages:
        held.append(passage)
        size += len(passage)
        if size > most:
            return _on_disk(chain(held, passages))
    return held


def lengths_of(tokens: Sequence[NDArray[np.int64]]) -> NDArray[np.int64]:
    """Count the tokens of each passage, without reading them."""
    if isinstance(tokens, StoredTokens):
        return tokens.lengths
    return np.array([len(passage) for passage in tokens], dtype=np.int64)


def _on_disk(passages: Iterable[NDArray[np.int64]]) -> StoredTokens:
    lengths: list[int] = []
    piece: list[NDArray[Any]] = []
    size = 0
    try:
        with tempfile.TemporaryFile(prefix="backlight_tokens_") as file:
            for passage in passages:
                lengths.append(len(passage))
                piece.append(_narrow(passage))
                size += len(passage)
                if size >= _PIECE:
                    file.write(np.concatenate(piece).tobytes())
                    piece, size = [], 0
            file.write(np.concatenate([*piece, np.zeros(0, dtype=_ON_DISK)]).tobytes())
            file.flush()
            # The file has no name, and its content stays as long as it is mapped.
            flat = np.memmap(file, dtype=_ON_DISK, mode="r")
    except OSError as error:
        raise StorageError(
            f"The tokens of the text cannot be kept in {tempfile.gettempdir()} "
            f"({error.strerror}); set TMPDIR to a folder with more room."
        ) from error
    ends = np.cumsum(np.array(lengths, dtype=np.int64))
    return StoredTokens(flat, ends, ends - np.array(lengths, dtype=np.int64))


def _narrow(passage: NDArray[np.int64]) -> NDArray[Any]:
    narrow = passage.astype(_ON_DISK)
    if not np.array_equal(narrow, passage):
        wrong = int(passage[narrow != passage][0])
        raise DatasetError(f"The token id {wrong} is none that any model has.")
    return narrow
